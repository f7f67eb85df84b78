"""
Turns of an event loop, which callers share: of one that has five hundred requests at once, a few are worked on.

A loop serves what is ready in the order in which it came. So a request would wait behind all that another caller sent
before it, however much that is; here a caller's own requests wait for each other. Who only waits, for a job, for a
client that sends or reads, or for threads that callers get by turns (`turns`), gives up its turn meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

Result = TypeVar("Result")

# Requests of one caller. Each waits for Redis for most of its time: where Redis is a millisecond away, so many keep a
# loop busy. With more of them everybody else's next step comes later.
AT_ONCE = 4

_Waiting = asyncio.Future[None]


@dataclass(slots=True)
class _Line:
    """One caller's: how many turns are taken, who comes back for one, and who has had none yet."""

    taken: int = 0
    returning: deque[_Waiting] = field(default_factory=deque)
    beginning: deque[_Waiting] = field(default_factory=deque)


class LoopTurns:
    """One for each event loop."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._lines: dict[str, _Line] = {}  # by caller; those that have a turn, or wait for one

    def taken(self, caller: str) -> int:
        """How many turns a caller has at the moment."""
        line = self._lines.get(caller)
        return line.taken if line else 0

    async def take(self, caller: str, *, has_begun: bool) -> None:
        """Wait for a turn in a caller's line. Who has begun goes before who has not: what was begun is to end."""
        line = self._lines.setdefault(caller, _Line())
        if line.taken < self._at_once:
            line.taken += 1
            return
        waiting: _Waiting = asyncio.get_running_loop().create_future()
        (line.returning if has_begun else line.beginning).append(waiting)
        try:
            await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():  # It came at the same moment.
                self.pass_on(caller)
            raise

    def pass_on(self, caller: str) -> None:
        """Give what `take` gave to the next one of the line."""
        line = self._lines[caller]
        for all_waiting in (line.returning, line.beginning):
            while all_waiting:
                waiting = all_waiting.popleft()
                if not waiting.done():
                    waiting.set_result(None)
                    return
        line.taken -= 1
        if not line.taken:
            del self._lines[caller]


class Turn:
    """
    One request's: had, given up for a while, or over.

    The tasks of a request have it together: while one of them gives it up, the others are taken to wait, too.
    """

    def __init__(self, turns: LoopTurns, caller: str) -> None:
        """`caller`: As far as that is known before anything was looked up; `change` says it better."""
        self._turns = turns
        self._caller = caller
        self._is_had = self._is_over = False

    async def begin(self) -> None:
        """Wait until the request may begin."""
        await self._turns.take(self._caller, has_begun=False)
        self._is_had = True

    async def change(self, caller: str) -> None:
        """It turns out to be another caller's: it goes on in that one's line."""
        if caller == self._caller:
            return
        self.leave()
        self._caller = caller
        await self.resume()

    def leave(self) -> None:
        """Give it up, if it is had."""
        if self._is_had:
            self._is_had = False
            self._turns.pass_on(self._caller)

    async def resume(self) -> None:
        """Wait to have it again, unless it is had, or over."""
        if self._is_had or self._is_over:
            return
        caller = self._caller
        await self._turns.take(caller, has_begun=True)
        if self._is_had or self._is_over:  # Another task of the request was sooner, or has ended it.
            self._turns.pass_on(caller)
        else:
            self._is_had = True

    async def aside(self, awaited: Awaitable[Result]) -> Result:
        """Await what may take long and costs this loop nothing, with the turn given up until then."""
        self.leave()
        try:
            return await awaited
        finally:
            await self.resume()

    def end(self, *, after_s: float = 0.0) -> None:
        """Give it up for good; the next of its caller has it so many seconds later."""
        self._is_over = True
        if after_s and self._is_had:
            self._is_had = False
            asyncio.get_running_loop().call_later(after_s, self._turns.pass_on, self._caller)
        else:
            self.leave()


_TURN: ContextVar[Turn | None] = ContextVar("_TURN", default=None)  # Of the request that this task works for.


@contextmanager
def working_in(turn: Turn | None) -> Iterator[None]:
    """What is done in here is a part of that request; with None of no request, as what is done for many at once."""
    token = _TURN.set(turn)
    try:
        yield
    finally:
        _TURN.reset(token)


async def aside(awaited: Awaitable[Result]) -> Result:
    """The same, with the turn of whichever request this task works for."""
    turn = _TURN.get()
    return await (awaited if turn is None else turn.aside(awaited))
