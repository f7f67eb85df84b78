"""A contender lives no longer than whoever asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ops.process import wait_until
from tests.processes import is_alive
from workers.bench.process import ContenderFailed, Remote

CHECKOUT = Path(__file__).resolve().parents[4]
DEADLINE_S = 60.0


class Busy:
    """A contender whose calls take as long as one likes."""

    def pid(self) -> int:
        return os.getpid()

    def work(self, seconds: float) -> None:
        os.write(sys.stdout.fileno(), f"{os.getpid()}\n".encode())
        time.sleep(seconds)

    def fail(self) -> None:
        raise ContenderFailed("it could not")


PARENT = """
from tests.unit.workers.bench.test_process import Busy
from workers.bench.process import Remote

if __name__ == "__main__":
    remote = Remote(Busy)
    remote.call("work", 600)
"""


def test_contender_in_the_middle_of_a_call_ends_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)
    with parent:
        assert parent.stdout is not None
        contender = int(parent.stdout.readline())
        assert is_alive(contender)
        parent.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not is_alive(contender), DEADLINE_S)


def test_error_of_a_call_is_told_and_the_contender_goes_on() -> None:
    with Remote(Busy) as remote:
        with pytest.raises(ContenderFailed, match="it could not"):
            remote.call("fail")
        contender = remote.call("pid")
    assert not is_alive(contender)
