"""A caller's requests wait for each other, and hold up nobody else's by more than a few."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from producer.client.loop_turns import LoopTurns, Turn, aside, working_in

AT_ONCE = 2
STEPS = 3


class Loop:
    """Requests that note when they begin and end; each takes a few steps of the event loop."""

    def __init__(self) -> None:
        self.turns = LoopTurns(AT_ONCE)
        self.begun: list[str] = []
        self.ended: list[str] = []

    def request(
        self, caller: str, meanwhile: Callable[[], Awaitable[Any]] | None = None, name: str = ""
    ) -> asyncio.Task[None]:
        """One of a caller, which does something with its turn given up, in the middle."""

        async def serve() -> None:
            turn = Turn(self.turns, caller)
            try:
                with working_in(turn):
                    await turn.begin()
                    self.begun.append(name or caller)
                    if meanwhile is not None:
                        await aside(meanwhile())
                    for _ in range(STEPS):
                        await asyncio.sleep(0)
                    self.ended.append(name or caller)
            finally:
                turn.end()

        return asyncio.create_task(serve())


def run(what: Callable[[Loop], Coroutine[Any, Any, None]]) -> Loop:
    """Do it; all turns are given back then."""
    loop = Loop()
    asyncio.run(what(loop))
    assert loop.turns._lines == {}
    return loop


async def until_nothing_moves() -> None:
    for _ in range(4 * STEPS):
        await asyncio.sleep(0)


def test_request_ends_before_those_that_another_caller_sent_before_it() -> None:
    async def many_and_one(loop: Loop) -> None:
        await asyncio.gather(*(loop.request("many") for _ in range(50)), loop.request("one"))

    loop = run(many_and_one)
    assert loop.ended.index("one") <= AT_ONCE
    assert len(loop.ended) == 51


def test_caller_has_its_own_requests_served_in_order() -> None:
    async def many(loop: Loop) -> None:
        await asyncio.gather(*(loop.request("one", name=str(number)) for number in range(10)))

    loop = run(many)
    assert loop.begun == loop.ended == [str(number) for number in range(10)]


def test_who_waits_for_something_else_has_no_turn_meanwhile() -> None:
    async def waiting(loop: Loop) -> None:
        event = asyncio.Event()
        waiters = [loop.request("one", event.wait, "waiter") for _ in range(AT_ONCE)]
        await until_nothing_moves()
        assert loop.turns.taken("one") == 0
        await loop.request("one", name="other")
        event.set()
        await asyncio.gather(*waiters)

    assert run(waiting).ended == ["other", "waiter", "waiter"]


def test_who_comes_back_goes_before_who_has_not_begun() -> None:
    async def coming_back(loop: Loop) -> None:
        event = asyncio.Event()
        waiter = loop.request("one", event.wait, "waiter")
        await until_nothing_moves()
        others = [loop.request("one") for _ in range(10)]
        await asyncio.sleep(0)
        event.set()
        await asyncio.gather(waiter, *others)

    assert run(coming_back).ended.index("waiter") <= 2 * AT_ONCE


def test_hundreds_that_are_woken_at_once_come_back_by_turns() -> None:
    async def woken(loop: Loop) -> None:
        event = asyncio.Event()
        waiters = [loop.request("many", event.wait) for _ in range(50)]
        await until_nothing_moves()
        event.set()
        await asyncio.gather(*waiters, loop.request("one"))

    assert run(woken).ended.index("one") <= AT_ONCE


@pytest.mark.parametrize("is_idle", [False, True])
def test_who_is_canceled_leaves_no_turn_behind(is_idle: bool) -> None:
    """In line, with a turn, at the moment it comes, or while it is given up."""

    async def canceled(loop: Loop) -> None:
        never = asyncio.Event()
        tasks = [loop.request("one", never.wait if is_idle else None) for _ in range(6)]
        await asyncio.sleep(0)
        for _ in range(STEPS):
            for task in tasks[::2]:
                task.cancel()
            await asyncio.sleep(0)
        never.set()
        await asyncio.gather(*tasks, return_exceptions=True)

    assert len(run(canceled).ended) == 3


def test_failure_of_what_is_waited_for_comes_with_the_turn() -> None:
    async def fail() -> None:
        raise ValueError

    async def failing(loop: Loop) -> None:
        turn = Turn(loop.turns, "one")
        with working_in(turn):
            await turn.begin()
            with pytest.raises(ValueError):
                await aside(fail())
            assert loop.turns.taken("one") == 1
        turn.end()

    run(failing)


def test_what_goes_on_behind_the_request_takes_no_turn() -> None:
    """A task that a request began, and that lives longer."""

    async def behind(loop: Loop) -> None:
        turn = Turn(loop.turns, "one")
        with working_in(turn):
            await turn.begin()
            task = asyncio.create_task(_aside_twice())
            turn.end()
        await task
        assert loop.turns.taken("one") == 0

    run(behind)


async def _aside_twice() -> None:
    for _ in range(2):
        await aside(asyncio.sleep(0))


def test_two_tasks_of_a_request_have_one_turn() -> None:
    async def together(loop: Loop) -> None:
        turn = Turn(loop.turns, "one")
        with working_in(turn):
            await turn.begin()
            await asyncio.gather(_aside_twice(), _aside_twice())
            assert loop.turns.taken("one") == 1
        turn.end()

    run(together)


def test_request_goes_on_in_the_line_of_whoever_it_turns_out_to_be() -> None:
    async def changing(loop: Loop) -> None:
        turn = Turn(loop.turns, "")
        await turn.begin()
        await turn.change("one")
        assert (loop.turns.taken(""), loop.turns.taken("one")) == (0, 1)
        turn.end()

    run(changing)
