"""Threads that callers share: one with a thousand calls that wait holds another up by one of them, not by all."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TypeVar

Result = TypeVar("Result")

CALLER: ContextVar[str] = ContextVar("CALLER", default="")  # On whose behalf this task calls.


class SharedThreads:
    """
    One for each event loop. When all threads are in use, callers get the next free one by turns.

    Args:
        most_of_one: How many a caller may use at a time; for calls that may take as long as a caller likes.
    """

    def __init__(self, threads: int, name: str, most_of_one: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = threads
        self._most_of_one = most_of_one or threads
        self._used: Counter[str] = Counter()  # by caller
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # by caller; the next one first

    async def run(self, call: Callable[[], Result], *, to_its_end: bool = False) -> Result:
        """
        Run a call that blocks; raises what it raises.

        A caller that is canceled early leaves, and its call never begins. One that has begun ends, and has its thread
        until then.

        Args:
            to_its_end: A caller that is canceled meanwhile stays until then, too: it has what the call writes.
        """
        caller = CALLER.get()
        await self._turn(caller)
        begun = asyncio.get_running_loop().run_in_executor(self._pool, call)
        begun.add_done_callback(lambda _: self._give_back(caller))
        try:
            return await asyncio.shield(begun)
        except asyncio.CancelledError:
            if to_its_end:
                await asyncio.wait([begun])
            raise

    def shutdown(self, *, wait: bool) -> None:
        """Begin nothing more; with `wait`, return when what has begun has ended."""
        self._pool.shutdown(wait=wait, cancel_futures=not wait)

    async def _turn(self, caller: str) -> None:
        if self._free and self._used[caller] < self._most_of_one:
            self._take(caller)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # It came at the same moment.
                self._give_back(caller)
            raise

    def _take(self, caller: str) -> None:
        self._free -= 1
        self._used[caller] += 1

    def _give_back(self, caller: str) -> None:
        self._free += 1
        self._used[caller] -= 1
        if not self._used[caller]:
            del self._used[caller]
        while (following := self._next()) is not None:
            caller, turn = following
            if not turn.done():
                self._take(caller)
                turn.set_result(None)
                return

    def _next(self) -> tuple[str, asyncio.Future[None]] | None:
        """Whose turn it is, of those who may use another thread; he comes last the next time."""
        caller = next((each for each in self._waiting if self._used[each] < self._most_of_one), None)
        if caller is None:
            return None
        turns = self._waiting[caller]
        turn = turns.popleft()
        self._waiting.move_to_end(caller)
        if not turns:
            del self._waiting[caller]
        return caller, turn
