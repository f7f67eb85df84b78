"""
uvicorn's protocol, with bounds on what a client may keep open: a head that never ends, a body that nobody reads.

uvicorn has a limit for the heads of requests with h11 only, and none for the time that they take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_TIMEOUT_S = 10.0
HEAD_BYTES = 65_536
LINGER_S = 10.0  # How long what is left of a refused body may come in, so that its sender reads why.


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections whose clients do not get on."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _is_in_head = False
    _is_in_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._arm(HEAD_TIMEOUT_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_body = self._is_in_body
        super().data_received(data)
        if self._is_in_head and not was_in_body:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(431, b"the head of this request is too large")

    def on_message_begin(self) -> None:
        self._is_in_head, self._head_bytes = True, 0
        self._arm(HEAD_TIMEOUT_S, self._refuse_slow_head)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_in_head, self._is_in_body = False, True
        self._disarm()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_body = False
        self._disarm()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_in_body and not self.transport.is_closing():
            self._arm(LINGER_S, self.transport.close)

    def _refuse_slow_head(self) -> None:
        self._refuse(408, b"the head of this request did not come in time")

    def _refuse(self, status: int, reason: bytes) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:  # Else it would stand in the middle of another answer.
            head = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + head % len(reason) + reason)
        self.transport.close()

    def _arm(self, seconds: float, call: Callable[[], None]) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, call)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
