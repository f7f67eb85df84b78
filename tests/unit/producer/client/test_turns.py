"""Threads are given to callers by turns, and whoever leaves takes nobody's turn along."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from producer.client.turns import CALLER, SharedThreads

pytestmark = pytest.mark.anyio

DEADLINE_S = 60.0


class Order:
    """Calls that note when they are run; the first waits for `go_on`."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.has_begun, self.go_on = threading.Event(), threading.Event()

    def blocking(self) -> None:
        self.has_begun.set()
        assert self.go_on.wait(DEADLINE_S)

    def calling(self, threads: SharedThreads, caller: str, times: int) -> list[asyncio.Task[None]]:
        async def call() -> None:
            CALLER.set(caller)
            await threads.run(lambda: self.ran.append(caller))

        return [asyncio.create_task(call()) for _ in range(times)]


@pytest.fixture
def order() -> Order:
    return Order()


@asynccontextmanager
async def busy_thread(order: Order) -> AsyncIterator[SharedThreads]:
    """One thread, with a call that has it until `order` lets it go on."""
    threads = SharedThreads(1, "test")
    busy = asyncio.create_task(threads.run(order.blocking))
    try:
        await asyncio.to_thread(order.has_begun.wait, DEADLINE_S)
        yield threads
        await busy
    finally:
        order.go_on.set()
        threads.shutdown(wait=True)


async def until_all_wait() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_call_of_another_waits_for_one_of_many(order: Order) -> None:
    async with busy_thread(order) as threads:
        tasks = order.calling(threads, "many", 50)
        await until_all_wait()
        tasks += order.calling(threads, "one", 2) + order.calling(threads, "another", 1)
        await until_all_wait()
        order.go_on.set()
        await asyncio.gather(*tasks)
    assert order.ran[:6] == ["many", "one", "another", "many", "one", "many"]
    assert len(order.ran) == 53


async def test_who_leaves_while_it_waits_never_runs_and_keeps_no_turn(order: Order) -> None:
    async with busy_thread(order) as threads:
        gone, stays = order.calling(threads, "gone", 2), order.calling(threads, "stays", 1)
        await until_all_wait()
        for task in gone:
            task.cancel()
        order.go_on.set()
        await asyncio.gather(*gone, *stays, return_exceptions=True)
        await asyncio.gather(*order.calling(threads, "later", 1))
    assert order.ran == ["stays", "later"]


@pytest.mark.parametrize("to_its_end", [True, False])
async def test_who_leaves_while_it_runs_stays_if_it_said_so(order: Order, to_its_end: bool) -> None:
    threads = SharedThreads(1, "test")
    running = asyncio.create_task(threads.run(order.blocking, to_its_end=to_its_end))
    await asyncio.to_thread(order.has_begun.wait, DEADLINE_S)
    running.cancel()
    await until_all_wait()
    assert running.done() is not to_its_end
    order.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await threads.run(lambda: 7) == 7
    threads.shutdown(wait=True)


async def test_one_caller_does_not_get_all_threads_where_that_is_bounded(order: Order) -> None:
    threads = SharedThreads(2, "test", most_of_one=1)
    try:
        CALLER.set("a")
        busy = asyncio.create_task(threads.run(order.blocking))
        await asyncio.to_thread(order.has_begun.wait, DEADLINE_S)
        waiting = order.calling(threads, "a", 2)
        await until_all_wait()
        await asyncio.gather(*order.calling(threads, "b", 3))
        assert order.ran == ["b"] * 3
        order.go_on.set()
        await asyncio.gather(busy, *waiting)
        assert order.ran == [*["b"] * 3, "a", "a"]
    finally:
        order.go_on.set()
        threads.shutdown(wait=True)
