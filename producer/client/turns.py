"""Threads that callers share: one with a thousand calls that wait holds another up by one of them, not by all."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TypeVar

Result = TypeVar("Result")

CALLER: ContextVar[str] = ContextVar("CALLER", default="")  # On whose behalf this task calls.


class SharedThreads:
    """One for each event loop. When all threads are in use, callers get the next free one by turns."""

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = threads
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # by caller; the next one first

    async def run(self, call: Callable[[], Result], *, to_its_end: bool = False) -> Result:
        """
        Run a call that blocks; raises what it raises.

        A caller that is canceled early leaves, and its call never begins. One that has begun ends, and has its thread
        until then.

        Args:
            to_its_end: A caller that is canceled meanwhile stays until then, too: it has what the call writes.
        """
        await self._turn(CALLER.get())
        begun = asyncio.get_running_loop().run_in_executor(self._pool, call)
        begun.add_done_callback(lambda _: self._pass_on())
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
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # It came at the same moment.
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            caller, turns = next(iter(self._waiting.items()))
            turn = turns.popleft()
            self._waiting.move_to_end(caller)
            if not turns:
                del self._waiting[caller]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
