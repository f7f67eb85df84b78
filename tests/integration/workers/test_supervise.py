"""The parent of a worker, with real children."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.process import Process, wait_until
from ops.settings import CHECKOUT
from tests.processes import is_alive
from workers.process.parent.supervise import EX_CONFIG

DEADLINE_S = 60.0

PARENT = """
import sys
from workers.process.parent.supervise import Command, supervise
commands = [[each] if each.startswith("/") else [sys.executable, "-c", each] for each in sys.argv[1:]]
sys.exit(supervise([Command(argv=each, env={"NUMBER": str(n)}) for n, each in enumerate(commands)]))
"""
NOTE = "import os, sys, time, signal; open(os.environ['STARTS'], 'a').write(f'{os.getpid()} {time.time()}\\n');"
STOPS_IN_ORDER = (
    NOTE
    + "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); open(os.environ['STARTS'] + '.up', 'w');"
    + "signal.sigwait([signal.SIGTERM])"
)


class Supervised(Process):
    """A supervisor of children that run `programs`."""

    def __init__(self, programs: tuple[str, ...], starts_file: Path) -> None:
        super().__init__("parent", env={**os.environ, "STARTS": str(starts_file)}, cwd=CHECKOUT)
        self._programs = programs
        self._starts_file = starts_file

    def command(self) -> list[str]:
        return [sys.executable, "-c", PARENT, *self._programs]

    def is_ready(self) -> bool:
        return bool(self.starts)

    @property
    def starts(self) -> list[tuple[int, float]]:
        """Process id and time of each child."""
        lines = self._starts_file.read_text().splitlines() if self._starts_file.exists() else []
        return [(int(line.split()[0]), float(line.split()[1])) for line in lines]

    @property
    def is_up(self) -> bool:
        return Path(f"{self._starts_file}.up").exists()

    def ended(self) -> int | None:
        wait_until(lambda: self.exit_code is not None, DEADLINE_S)
        return self.exit_code


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def start(*programs: str, begins: bool = True) -> Supervised:
        parent = Supervised(programs, tmp_path / "starts")
        parent.start()
        started.append(parent)
        # It may have ended by now, as it should.
        assert not begins or wait_until(lambda: bool(parent.starts), DEADLINE_S)
        return parent

    yield start
    for each in started:
        each.stop()


def test_child_that_ends_in_order_is_the_end(run: Callable[..., Supervised]) -> None:
    parent = run(NOTE + "time.sleep(0.1)")
    assert parent.ended() == 0
    assert len(parent.starts) == 1


def test_child_that_cannot_run_as_it_is_configured_is_not_started_again(run: Callable[..., Supervised]) -> None:
    parent = run(NOTE + f"sys.exit({EX_CONFIG})")
    assert parent.ended() == EX_CONFIG
    assert len(parent.starts) == 1


@pytest.mark.parametrize("end", ["sys.exit(3)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_child_that_crashes_is_started_again_later_each_time(run: Callable[..., Supervised], end: str) -> None:
    parent = run(NOTE + end)
    assert wait_until(lambda: len(parent.starts) >= 3, DEADLINE_S)
    first, second, third = (moment for _, moment in parent.starts[:3])
    assert second - first >= 1
    assert third - second >= 2
    os.kill(parent.pid or 0, signal.SIGTERM)
    assert parent.ended() is not None


def test_sigterm_stops_child_and_parent(run: Callable[..., Supervised]) -> None:
    parent = run(STOPS_IN_ORDER)
    assert wait_until(lambda: parent.is_up, DEADLINE_S)
    os.kill(parent.pid or 0, signal.SIGTERM)
    assert parent.ended() == 0
    assert len(parent.starts) == 1


def test_child_that_sigterm_kills_while_it_starts_stopped_in_order(run: Callable[..., Supervised]) -> None:
    parent = run(NOTE + "signal.pause()")
    os.kill(parent.pid or 0, signal.SIGTERM)
    assert parent.ended() == 0


def test_second_sigterm_reaches_the_child_once(run: Callable[..., Supervised], tmp_path: Path) -> None:
    count = (
        NOTE + "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]);"
        "open(os.environ['STARTS'] + '.up', 'w'); signal.sigwait([signal.SIGTERM]);"
        "sys.exit(0 if signal.sigtimedwait([signal.SIGTERM], 1) is None else 9)"
    )
    parent = run(count)
    assert wait_until(lambda: parent.is_up, DEADLINE_S)
    for _ in range(3):
        os.kill(parent.pid or 0, signal.SIGTERM)
    assert parent.ended() == 0


def test_sigterm_stops_what_sigint_to_the_parent_alone_did_not(run: Callable[..., Supervised]) -> None:
    parent = run(STOPS_IN_ORDER)
    assert wait_until(lambda: parent.is_up, DEADLINE_S)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(parent.pid or 0, number)
    assert parent.ended() == 0
    assert not is_alive(parent.starts[0][0])


def test_of_several_children_only_the_one_that_crashed_is_started_again(run: Callable[..., Supervised]) -> None:
    parent = run(*[STOPS_IN_ORDER] * 3)
    assert wait_until(lambda: len(parent.starts) == 3, DEADLINE_S)
    victim, *others = [pid for pid, _ in parent.starts]
    os.kill(victim, signal.SIGKILL)
    assert wait_until(lambda: len(parent.starts) == 4, DEADLINE_S)
    assert all(is_alive(pid) for pid in others)
    os.kill(parent.pid or 0, signal.SIGTERM)
    assert parent.ended() == 0
    assert not any(is_alive(pid) for pid, _ in parent.starts)


WAITS = "while not os.path.exists(os.environ['STARTS'] + '.up'): time.sleep(0.01)\n"


def test_child_that_ends_in_order_is_the_end_of_all(run: Callable[..., Supervised]) -> None:
    parent = run(STOPS_IN_ORDER, f"{NOTE}\n{WAITS}")
    assert parent.ended() == 0
    assert len(parent.starts) == 2
    assert not any(is_alive(pid) for pid, _ in parent.starts)


def test_child_that_cannot_run_as_it_is_configured_leaves_the_others(run: Callable[..., Supervised]) -> None:
    parent = run(STOPS_IN_ORDER, f"{NOTE}\n{WAITS}sys.exit({EX_CONFIG})")
    assert wait_until(lambda: parent.is_up and any(not is_alive(pid) for pid, _ in parent.starts), DEADLINE_S)
    assert parent.exit_code is None
    os.kill(parent.pid or 0, signal.SIGTERM)
    assert parent.ended() == 0
    assert len(parent.starts) == 2


def test_parent_ends_when_no_child_can_run_as_it_is_configured(run: Callable[..., Supervised]) -> None:
    parent = run(*[f"{NOTE}sys.exit({EX_CONFIG})"] * 3)
    assert parent.ended() == EX_CONFIG
    assert len(parent.starts) == 3


def test_program_that_is_not_there_is_the_end_of_all(run: Callable[..., Supervised]) -> None:
    parent = run(STOPS_IN_ORDER, "/nowhere/imagemill", begins=False)
    assert parent.ended() == os.EX_OSERR
    assert "cannot be started" in str(parent.failure("ended"))
    assert not any(is_alive(pid) for pid, _ in parent.starts)
