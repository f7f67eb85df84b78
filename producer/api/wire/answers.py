"""
The answer to one request, as it goes out: what uvicorn does, and for clients of HTTP/1.0 what they can read.

They know no chunks: an answer has its length in its head, or ends where the connection does. uvicorn chunks for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from producer.api.wire.readers import Readers

_BODILESS = (204, 304)


class Outlet:
    """The side of a connection that answers write to. To close it is to end the conversation in order."""

    def __init__(self, transport: asyncio.Transport, readers: Readers, finish: Callable[[], None]) -> None:
        self._transport, self._readers, self._finish = transport, readers, finish

    def write(self, data: bytes) -> None:
        """Bytes for the client, whose reading is watched from now on."""
        self._transport.write(data)
        self._readers.note(self._transport, len(data))

    def close(self) -> None:
        """There is no more to say; what is written goes out."""
        self._finish()

    def abort(self) -> None:
        """Let the client know that this was not all, where it could not see it."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""
        return self._transport.is_closing()


class Answer(RequestResponseCycle):
    """One request and its answer. `is_old`: the client speaks HTTP/1.0."""

    def __init__(self, *, outlet: Outlet, is_old: bool, **options: Any) -> None:
        super().__init__(transport=cast("asyncio.Transport", outlet), **options)
        self._outlet, self._is_old = outlet, is_old
        self._ends_by_close = False

    async def run_asgi(self, app: Any) -> None:
        """As uvicorn does; an answer of unknown length that broke off must not look whole."""
        try:
            await super().run_asgi(app)
        finally:
            if self._ends_by_close and not self.response_complete and not self.disconnected:
                self._outlet.abort()

    async def send(self, message: Any) -> None:
        """Send a part of the answer; waits while the client reads too slowly."""
        if self._is_old:
            if message["type"] == "http.response.start":
                message = self._for_old(message)
            elif self._ends_by_close:
                self.expected_content_length = len(message.get("body", b""))
        await super().send(message)

    def _for_old(self, message: Any) -> Any:
        headers = [(name.lower(), value) for name, value in message.get("headers", [])]
        names = [name for name, _ in headers]
        if b"content-length" not in names and message["status"] not in _BODILESS:
            self.keep_alive, self.chunked_encoding, self._ends_by_close = False, False, True
        if self.keep_alive and b"connection" not in names:
            headers.append((b"connection", b"keep-alive"))
        return {**message, "headers": headers}
