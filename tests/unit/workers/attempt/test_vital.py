"""Threads that everything hangs on go on after any exception, and take the worker down where it does not end."""

from __future__ import annotations

import threading

import pytest

from workers.attempt import vital
from workers.attempt.vital import run_vital


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vital, "_PAUSE_S", 0.0)


def test_a_loop_begins_again_after_what_it_did_not_expect() -> None:
    errors: list[Exception] = [UnicodeDecodeError("utf-8", b"", 0, 1, "bad"), MemoryError(), KeyError("x")]
    rounds = []

    def loop() -> None:
        rounds.append(len(errors))
        if errors:
            raise errors.pop()

    run_vital("test", loop, threading.Event(), lambda: pytest.fail("it recovered"))
    assert rounds == [3, 2, 1, 0]


def test_a_bug_that_stays_has_the_worker_stop_once_and_is_survived_until_it_has() -> None:
    stopping, told, rounds = threading.Event(), [], []

    def loop() -> None:
        rounds.append(1)
        if len(rounds) == 50:
            stopping.set()
        raise ValueError("always")

    run_vital("test", loop, stopping, lambda: told.append(len(rounds)))
    assert told == [vital._MOST_BUGS]
    assert len(rounds) == 50


def test_what_ends_the_process_is_not_held_up() -> None:
    def loop() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        run_vital("test", loop, threading.Event(), lambda: None)
