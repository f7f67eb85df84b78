"""The parent of a worker process: starts it again when it crashes, and passes the wish to stop on to it."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from types import FrameType

import structlog

log = structlog.get_logger()

EX_CONFIG = 78  # sysexits.h: what is wrong will be wrong the next time, too

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_GOOD_RUN_S = 120.0  # after which a crash counts as the first one again


def supervise(command: Sequence[str]) -> int:
    """
    Run a command until it ends by itself or is told to.

    SIGTERM is passed on once. SIGINT is not: a terminal sends it to the whole group, and a second one would mean hurry.

    Returns:
        The exit code: of a child that stopped in order, or that cannot run as it is configured.
    """
    parent = _Parent()
    signal.signal(signal.SIGTERM, parent.on_signal)
    signal.signal(signal.SIGINT, parent.on_signal)
    pause_s = _FIRST_PAUSE_S
    while True:
        started = time.monotonic()
        code = parent.run(command)
        if parent.stopping.is_set() and code == -signal.SIGTERM:  # It was told before it could listen.
            return 0
        if parent.stopping.is_set() or code in (0, EX_CONFIG):
            return code
        if time.monotonic() - started > _GOOD_RUN_S:
            pause_s = _FIRST_PAUSE_S
        log.error("worker process ended; starting another", exit_code=code, pause_s=pause_s)
        if parent.stopping.wait(pause_s):
            return 0
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


class _Parent:
    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None

    def run(self, command: Sequence[str]) -> int:
        with subprocess.Popen(command) as self._child:
            if self.stopping.is_set():  # The signal came before there was anybody to pass it on to.
                self._child.terminate()
            return self._child.wait()

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        first = not self.stopping.is_set()
        self.stopping.set()
        if first and number == signal.SIGTERM and self._child is not None and self._child.poll() is None:
            self._child.terminate()
