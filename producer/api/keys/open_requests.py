"""
The open requests of each caller in this process: how many there may be, and how they end when a key is revoked.

Counted in each process alone: what a request that is open takes is its process' memory and turns, and a process that
dies takes its counts with it. So with three replicas a caller may have three times as many.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.types import Message, Receive, Send

from producer.api.keys.callers import Caller
from producer.client.loop_turns import LoopTurns, Turn, working_in
from producer.keys.errors import KeyRefused, TooManyBatches, TooManyBytes, TooManyConnections, TooManyUploads

# How long the turn of a refused request is kept: refusals take next to nothing, so a caller can send very many of them.
_REFUSAL_S = 0.01

MOST_BYTES = 64 << 20  # Of the bodies that a caller's requests have in memory at a time.

MOST_UPLOADS = 64  # In one process: each has about ten megabytes of it.

LAST_BYTES = 65_536  # Of an answer, on their way when it no longer counts: more is a client that does not read.

# Of answers that may take hours, and have a form for one more thing to say.
LONG_TYPES = ("text/event-stream", "application/jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCounts:
    """How many requests a caller has open, and how many of them send or read batches, or send files."""

    connections: int
    batches: int
    uploads: int


class OpenRequest:
    """
    One open request.

    Attributes:
        caller: Its caller; None until that is known.
        answered_as: The type of its answer; None until that begins.
        turn: Its turn of the event loop.
    """

    def __init__(self, open_requests: OpenRequests, turn: Turn) -> None:
        self.caller: Caller | None = None
        self.turn = turn
        self.answered_as: str | None = None
        self.is_batch = self.is_upload = False
        self._open_requests = open_requests
        self._task = asyncio.current_task()
        self._refused: KeyRefused | None = None
        self._cancels = 0
        self._is_answered = False

    def admit(self, caller: Caller) -> None:
        """Count it for its caller. Raises `TooManyConnections` if the caller has reached its limit."""
        self._open_requests.admit(self, caller)

    def use_for_batch(self) -> None:
        """The request sends or reads a batch. Raises `TooManyBatches` if the caller has reached its limit."""
        self._open_requests.use_for_batch(self)

    def use_for_upload(self) -> None:
        """The request sends a file. Raises `TooManyUploads` if the caller, or this process, has reached its limit."""
        self._open_requests.use_for_upload(self)

    @contextmanager
    def uploading(self) -> Iterator[None]:
        """While a request sends files that does more afterwards. Raises as `use_for_upload` does."""
        self.use_for_upload()
        try:
            yield
        finally:
            self.is_upload = False

    @contextmanager
    def holding(self) -> Iterator[Callable[[int], None]]:
        """
        While a body is in memory; gives what says that it has so many bytes more.

        That raises `TooManyBytes` where the bodies of all of its caller's requests have too many.
        """
        caller = self.caller
        assert caller is not None  # noqa: S101 - no body is read before it is known whose it is
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            self._open_requests.hold(caller.name, size)
            held += size

        try:
            yield hold
        finally:
            self._open_requests.let_go(caller.name, held)

    def reading(self, receive: Receive) -> Receive:
        """A `receive` that has no turn while the body comes. Who listens behind it, for the client to leave, has it."""
        is_read = False

        async def reading() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()
            message: Message = await self.turn.aside(receive())
            is_read = not message.get("more_body", False)
            return message

        return reading

    def noting(self, send: Send) -> Send:
        """
        A `send` that notes how the answer began, and closes the request when it ends: before its last bytes are sent,
        because a client that has read them may send the next request at once. It has no turn while the client takes
        what is sent.
        """

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                types = (value for name, value in message["headers"] if name.lower() == b"content-type")
                self.answered_as = next(types, b"").decode("latin-1").partition(";")[0]
                if self.answered_as not in LONG_TYPES:
                    is_refused = self.caller is not None and message["status"] >= HTTPStatus.BAD_REQUEST
                    self.turn.end(after_s=_REFUSAL_S if is_refused else 0.0)
            elif message["type"] == "http.response.body" and not message.get("more_body", False):
                message = await self.turn.aside(_all_but_the_last(message, send))
                self._open_requests.close(self)
                self.turn.end()
            await self.turn.aside(send(message))

        return noting

    def refuse(self, reason: KeyRefused) -> None:
        """End it, unless its answer is one that is about to end: again and again, for a cancellation can get lost."""
        is_ending = self._is_answered or self.answered_as not in (None, *LONG_TYPES)
        if self._task is not None and not is_ending:
            self._refused = reason
            self._cancels += 1
            self._task.cancel()

    @contextmanager
    def ended_by_refusal(self) -> Iterator[None]:
        """Raises the reason, in place of being canceled, where `refuse` ended what is done in here."""
        try:
            yield
        except asyncio.CancelledError:
            if self._refused is None or self._task is None:
                raise
            for _ in range(self._cancels):
                left = self._task.uncancel()
            if left:  # By somebody else, too: this process is about to stop.
                raise
            self._is_answered = True
            raise self._refused from None


class OpenRequests:
    """The open requests of one process, and their turns."""

    def __init__(self) -> None:
        self._turns = LoopTurns()
        self._by_caller: dict[str, set[OpenRequest]] = {}  # by caller
        self._held: Counter[str] = Counter()  # bytes, by caller

    @contextmanager
    def track(self, state: MutableMapping[str, Any], presumed: str = "") -> Iterator[OpenRequest]:
        """
        A request's, which finds it in its `state`.

        Args:
            presumed: Whose it seems to be; until that is known, it waits in that caller's line.
        """
        open_request = state["open_request"] = OpenRequest(self, Turn(self._turns, presumed))
        try:
            with working_in(open_request.turn):
                yield open_request
        finally:
            open_request.turn.end()
            self.close(open_request)

    def with_callers(self) -> list[OpenRequest]:
        """Those whose callers are known."""
        return [open_request for open_requests in self._by_caller.values() for open_request in open_requests]

    def count(self, caller: str) -> OpenCounts:
        """What a caller has open."""
        open_requests = self._by_caller.get(caller, set())
        return OpenCounts(
            connections=len(open_requests),
            batches=sum(each.is_batch for each in open_requests),
            uploads=sum(each.is_upload for each in open_requests),
        )

    def admit(self, open_request: OpenRequest, caller: Caller) -> None:
        """As `OpenRequest.admit`."""
        if open_request.caller is not None:
            return
        most = caller.limits.max_connections
        if len(self._by_caller.get(caller.name, ())) >= most:
            raise TooManyConnections(caller.name, most)
        open_request.caller = caller
        self._by_caller.setdefault(caller.name, set()).add(open_request)

    def use_for_batch(self, open_request: OpenRequest) -> None:
        """As `OpenRequest.use_for_batch`."""
        if open_request.caller is None or open_request.is_batch:
            return
        most = open_request.caller.limits.max_batches
        if self.count(open_request.caller.name).batches >= most:
            raise TooManyBatches(open_request.caller.name, most)
        open_request.is_batch = True

    def use_for_upload(self, open_request: OpenRequest) -> None:
        """As `OpenRequest.use_for_upload`."""
        if open_request.caller is None or open_request.is_upload:
            return
        most = open_request.caller.limits.max_uploads
        if self.count(open_request.caller.name).uploads >= most:
            raise TooManyUploads(open_request.caller.name, most)
        if sum(each.is_upload for each in self.with_callers()) >= MOST_UPLOADS:
            raise TooManyUploads(None, MOST_UPLOADS)
        open_request.is_upload = True

    def hold(self, caller: str, size: int) -> None:
        """Raises `TooManyBytes` where a caller's bodies have too many."""
        if self._held[caller] + size > MOST_BYTES:
            raise TooManyBytes(caller, MOST_BYTES)
        self._held[caller] += size

    def let_go(self, caller: str, size: int) -> None:
        """Of what was held."""
        self._held[caller] -= size
        if not self._held[caller]:
            del self._held[caller]

    def close(self, open_request: OpenRequest) -> None:
        """The request is answered; may be called twice."""
        if open_request.caller is None:
            return
        open_requests = self._by_caller.get(open_request.caller.name, set())
        open_requests.discard(open_request)
        if not open_requests:
            self._by_caller.pop(open_request.caller.name, None)


async def _all_but_the_last(message: Message, send: Send) -> Message:
    """Send a large end of an answer but for its last bytes, which are given; returns when the client has taken it."""
    body = message.get("body", b"")
    if len(body) <= LAST_BYTES:
        return message
    for part in (body[:-LAST_BYTES], b""):  # Who sends waits for what was sent before.
        await send({**message, "body": part, "more_body": True})
    return {**message, "body": body[-LAST_BYTES:]}
