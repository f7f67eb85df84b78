"""
uvicorn's protocol, with bounds on what a client may send and keep open: a head that never ends or says too much, a body
that nobody reads, an answer that it does not read.

uvicorn has a limit for the heads of requests with h11 only, and none for the time that they take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
import orjson
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from producer.api.http.errors import Problem
from producer.api.wire.answers import Answer, Outlet
from producer.api.wire.heads import FIELDS, HEAD_BYTES, TARGET_BYTES, HeadRefused, check_head, malformed
from producer.api.wire.readers import Readers
from producer.api.wire.resumption import framing_of, parser_within

log = structlog.get_logger()

HEAD_TIMEOUT_S = 10.0
LINGER_S = 30.0  # How long what is left of a refused request may come in, so that its sender reads why.
PIPELINED = 16  # Requests that wait for the answers before theirs; what comes behind them is not answered.

_LARGE_HEAD = Problem(status=431, code="head_too_large", message="the head of this request is too large")
_LONG_TARGET = Problem(status=414, code="target_too_long", message=f"a URL has at most {TARGET_BYTES} characters here")
_SLOW_HEAD = Problem(status=408, code="head_too_slow", message="the head of this request did not come in time")


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections whose clients do not get on."""

    def __init__(self, readers: Readers, **options: Any) -> None:
        """`options`: those of uvicorn's own protocol."""
        super().__init__(**options)
        self._readers = readers
        self._timer: asyncio.TimerHandle | None = None
        self._answering: Answer | None = None
        self._is_in_head = self._is_in_body = self._is_deaf = False
        self._is_asked = False  # What comes now is a request that is answered, or will be.
        self._passed_over = b""  # How a body comes that the parser stops in front of.
        self.is_resuming = False  # The parser is fed again what is known.
        self._unseen_bytes = 0  # Of a head that is not complete, or beside a body's own bytes.
        self._new_bytes = 0  # Of which a request may begin.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._outlet = Outlet(transport, self._readers, self._finish)
        self._arm(HEAD_TIMEOUT_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._readers.forget(self.transport)
        self.pipeline.clear()
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True  # uvicorn marks the last request that came, which may be another.
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._unset_keepalive_if_required()
        is_within = self._is_in_head or self._is_in_body
        self._unseen_bytes, self._new_bytes = self._unseen_bytes + len(data), 0 if is_within else len(data)
        try:
            self._parse(data)
        except HeadRefused as exc:
            self._refuse(exc.problem)
        except httptools.HttpParserError as exc:
            self._refuse(malformed(f"this is no request of HTTP/1.1: {exc}"))
        if (self._is_in_head or self._is_in_body) and self._unseen_bytes > HEAD_BYTES:
            self._refuse(_LARGE_HEAD)

    def _parse(self, data: bytes) -> None:
        while data and not self._is_deaf:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as exc:  # Answered as if it had not asked for it (RFC 9110, 7.8).
                data = data[exc.args[0] :]
                if self._passed_over:
                    framing, self._passed_over = self._passed_over, b""
                    self.parser = parser_within(framing, self)
            except httptools.HttpParserCallbackError as exc:
                raise exc.__context__ or exc from None
            else:
                return

    def on_message_begin(self) -> None:
        if self._is_deaf or self.is_resuming:
            return
        self._is_in_head, self._is_asked = True, False
        self._unseen_bytes, self._new_bytes = self._new_bytes, 0
        self._arm(HEAD_TIMEOUT_S, lambda: self._refuse(_SLOW_HEAD))
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self.is_resuming:
            return
        super().on_url(url)
        if len(self.url) > TARGET_BYTES:
            raise HeadRefused(_LONG_TARGET)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_body:  # A trailer. What the head said has been looked at, and stands.
            return
        super().on_header(name, value)
        if len(self.headers) > FIELDS:
            raise HeadRefused(_LARGE_HEAD)

    def on_headers_complete(self) -> None:
        if self._is_deaf or self.is_resuming:
            return
        self._is_in_head, self._is_in_body = False, True
        self._disarm()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > HEAD_BYTES:
            raise HeadRefused(_LARGE_HEAD)
        version = self.parser.get_http_version()
        target = check_head(version, self.url, self.headers)
        self.scope |= {
            "http_version": version,
            "method": self.parser.get_method().decode(),
            "path": target.path,
            "raw_path": target.raw_path,
            "query_string": target.query_string,
        }
        self._passed_over = framing_of(self.headers) if self.parser.should_upgrade() else b""
        self._enqueue(self._answer(is_old=version == "1.0"))

    def on_body(self, body: bytes) -> None:
        self._unseen_bytes = 0
        if not self._is_deaf:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_deaf or self._passed_over:
            return
        self._is_in_body = False
        self._disarm()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self._is_deaf and not self.pipeline:
            self.server_state.total_requests += 1
            return
        super().on_response_complete()
        is_refused = self._is_in_body and self.cycle.response_complete  # And not a body that is still to be answered.
        if is_refused and not self._is_deaf and not self.transport.is_closing():
            self._arm(LINGER_S, self.transport.close)

    def _answer(self, *, is_old: bool) -> Answer:
        return Answer(
            outlet=self._outlet,
            is_old=is_old,
            scope=self.scope,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue and not is_old,
            keep_alive=self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )

    def _enqueue(self, answer: Answer) -> None:
        """Begin an answer, or let it wait for those before it."""
        self._is_asked = True
        if self._answering is None or self._answering.response_complete:
            self.cycle = answer
            self._start_asgi_task(answer, self.app)
        elif len(self.pipeline) < PIPELINED:
            self.cycle = answer
            self.flow.pause_reading()
            self.pipeline.appendleft((answer, self.app))
        else:
            self._is_deaf, self.cycle.keep_alive = True, False

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _refuse(self, problem: Problem) -> None:
        if self._is_deaf or self.transport.is_closing():
            return
        log.debug("request refused", status=problem.status, reason=problem.message)
        answer = self._answering
        if answer is not None and not answer.response_complete:
            if not self._is_asked or self.cycle is not answer:
                self._end_behind_others()
                return
            if answer.response_started:
                self.transport.close()  # There is no place for a refusal in the middle of an answer.
                return
            answer.disconnected = True  # This is its answer: the body has come to nothing.
            answer.message_event.set()
        body = orjson.dumps(problem.content())
        own_headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        head = [b"%s: %s\r\n" % each for each in [*self.server_state.default_headers, *own_headers]]
        self._outlet.write(b"".join([STATUS_LINE[problem.status], *head, b"\r\n", body]))
        self._is_in_body = True  # Whatever is behind that head: it is read, so that its sender is not cut off.
        self._finish()

    def _end_behind_others(self) -> None:
        """What comes is refused, and the requests before it are not: they are answered, and nothing behind them."""
        if self._is_asked:
            self.pipeline.popleft()
        last = self.pipeline[0][0] if self.pipeline else self._answering
        assert last is not None  # noqa: S101 - whoever calls this has seen one
        self.cycle, last.keep_alive = last, False
        self._is_deaf = self._is_in_body = True  # What comes is read, so that its sender is not cut off.
        self.flow.resume_reading()

    def _finish(self) -> None:
        """
        End the conversation. Where the client still sends, what comes is thrown away for a while: a connection that is
        closed on unread bytes is reset, and its client may lose the answer that it has not read yet.
        """
        self._is_deaf = True
        self.pipeline.clear()
        if not self._is_in_body or self.transport.is_closing():
            self.transport.close()
            return
        self.flow.resume_reading()
        self.transport.write_eof()
        self._arm(LINGER_S, self.transport.close)

    def _arm(self, seconds: float, call: Callable[[], None]) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, call)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
