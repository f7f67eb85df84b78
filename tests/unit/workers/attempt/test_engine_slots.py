"""Seats in the engine: so many at a time, a suspect alone, none once the worker drains."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from ops.process import wait_until
from workers.attempt.engine_slots import EngineSlots
from workers.attempt.errors import Draining

DEADLINE_S = 60.0


class SlotHolder(threading.Thread):
    """Takes a seat, and keeps it until told."""

    def __init__(self, engine_slots: EngineSlots, *, alone: bool = False) -> None:
        super().__init__(daemon=True)
        self._engine_slots, self._alone = engine_slots, alone
        self.sits, self._leave, self.sent_away = threading.Event(), threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        try:
            with self._engine_slots.acquire(alone=self._alone):
                self.sits.set()
                self._leave.wait(DEADLINE_S)
        except Draining:
            self.sent_away.set()

    def go(self) -> None:
        self._leave.set()
        self.join(DEADLINE_S)


def sits(sitter: SlotHolder) -> bool:
    return sitter.sits.wait(DEADLINE_S)


def still_stands(*sitters: SlotHolder) -> bool:
    """Nobody sits who should not: asked after something else has happened."""
    return not any(sitter.sits.is_set() for sitter in sitters)


def test_as_many_sit_as_there_are_seats() -> None:
    engine_slots = EngineSlots(2)
    one, two = SlotHolder(engine_slots), SlotHolder(engine_slots)
    assert sits(one)
    assert sits(two)
    three = SlotHolder(engine_slots)
    assert still_stands(three)
    one.go()
    assert sits(three)
    for each in (two, three):
        each.go()


def test_seat_is_free_again_after_an_error() -> None:
    engine_slots = EngineSlots(1)
    with pytest.raises(ZeroDivisionError), engine_slots.acquire():
        raise ZeroDivisionError
    with engine_slots.acquire():
        pass


def test_suspect_sits_alone_and_goes_before_those_who_come_later() -> None:
    engine_slots = EngineSlots(4)
    one = SlotHolder(engine_slots)
    assert sits(one)
    suspect = SlotHolder(engine_slots, alone=True)
    wait_until_announced(engine_slots, 1)
    later = SlotHolder(engine_slots)
    assert still_stands(suspect, later)
    one.go()
    assert sits(suspect)
    assert still_stands(later)
    suspect.go()
    assert sits(later)
    later.go()


def test_two_suspects_sit_one_after_the_other() -> None:
    engine_slots = EngineSlots(4)
    one = SlotHolder(engine_slots, alone=True)
    assert sits(one)
    two = SlotHolder(engine_slots, alone=True)
    wait_until_announced(engine_slots, 2)
    assert still_stands(two)
    one.go()
    assert sits(two)
    two.go()
    with engine_slots.acquire():
        pass


@pytest.mark.parametrize("alone", [False, True])
def test_draining_worker_sends_those_away_who_wait_and_those_who_come(alone: bool) -> None:
    engine_slots = EngineSlots(1)
    running = SlotHolder(engine_slots)
    assert sits(running)
    waiting = SlotHolder(engine_slots, alone=alone)
    engine_slots.close()
    assert waiting.sent_away.wait(DEADLINE_S)
    with pytest.raises(Draining), engine_slots.acquire(alone=alone):
        pass
    running.go()
    assert not running.sent_away.is_set()


def wait_until_announced(engine_slots: EngineSlots, suspects: int) -> None:
    assert wait_until(lambda: engine_slots._alone == suspects, DEADLINE_S)


def test_many_threads_never_sit_too_many() -> None:
    engine_slots, most, now, lock = EngineSlots(3), 0, 0, threading.Lock()

    def sit(alone: bool) -> None:
        nonlocal most, now
        for _ in range(50):
            with engine_slots.acquire(alone=alone):
                with lock:
                    now += 1
                    most = max(most, now)
                    assert not alone or now == 1
                with lock:
                    now -= 1

    with ExitStack() as stack:
        threads = [threading.Thread(target=sit, args=(number == 0,)) for number in range(6)]
        for thread in threads:
            thread.start()
            stack.callback(thread.join, DEADLINE_S)
    assert 1 <= most <= 3


def test_who_has_a_reason_to_leave_waits_no_longer() -> None:
    engine_slots = EngineSlots(1)
    reasons: list[Exception] = []
    went: list[Exception] = []

    def wait_for_a_seat() -> None:
        try:
            with engine_slots.acquire(alone=True, reason=lambda: reasons[0] if reasons else None):
                pass
        except LookupError as exc:
            went.append(exc)

    with engine_slots.acquire():
        waiter = threading.Thread(target=wait_for_a_seat, daemon=True)
        waiter.start()
        wait_until_announced(engine_slots, 1)
        reasons.append(LookupError("canceled"))
        engine_slots.look_again()
        waiter.join(DEADLINE_S)
        assert went == reasons
    later = SlotHolder(engine_slots)
    assert sits(later), "the one that went holds nobody up"
    later.go()


def test_a_suspect_waits_for_the_files_of_others_and_keeps_its_seat_for_its_own() -> None:
    engine_slots = EngineSlots(2)
    with engine_slots.acquire() as other:
        suspect = SlotHolder(engine_slots, alone=True)
        other.leave_engine()
        assert still_stands(suspect)
    assert sits(suspect)
    next_one = SlotHolder(engine_slots)
    assert still_stands(next_one)
    suspect.go()
    assert sits(next_one)
    next_one.go()


def test_a_suspect_that_left_the_engine_still_is_alone() -> None:
    engine_slots = EngineSlots(2)
    with engine_slots.acquire(alone=True) as suspect:
        suspect.leave_engine()
        next_one = SlotHolder(engine_slots)
        assert still_stands(next_one)
    assert sits(next_one)
    next_one.go()


def test_a_job_whose_files_are_made_gives_its_seat_to_the_next() -> None:
    engine_slots = EngineSlots(1)
    with engine_slots.acquire() as first:
        next_one = SlotHolder(engine_slots)
        assert still_stands(next_one)
        first.leave_engine()
        assert sits(next_one)
    next_one.go()


def test_a_suspect_whose_files_are_made_gives_way_to_others_while_they_are_stored() -> None:
    engine_slots = EngineSlots(1)
    with engine_slots.acquire(alone=True) as suspect:
        suspect.leave_engine()
        suspect.release()
        next_one = SlotHolder(engine_slots)
        assert sits(next_one)
        next_one.go()
    with engine_slots.acquire(alone=True):  # It was released once, not twice.
        still = SlotHolder(engine_slots)
        assert still_stands(still)
    assert sits(still)
    still.go()
