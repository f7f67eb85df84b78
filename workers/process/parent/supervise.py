"""The parent of worker processes: starts one again when it crashes, and passes the wish to stop on to all."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

import structlog

log = structlog.get_logger()

EX_CONFIG = 78  # sysexits.h: what is wrong will be wrong the next time, too
_FOR_GOOD = (
    0,
    EX_CONFIG,
    os.EX_NOPERM,
)  # EX_NOPERM: the store refuses, see drain.py, which this must not import

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_HEED_SIGNALS_EVERY_S = 0.2
_GOOD_RUN_S = 120.0  # after which a crash counts as the first one again


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program, the variables that it has beyond ours, and what others call it."""

    name: str = ""
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


OnFailure = Callable[[Command, int], None]


def supervise(commands: Sequence[Command], on_failure: OnFailure = lambda _command, _code: None) -> int:
    """
    Run commands until one of them ends by itself, which ends the others in order, or until it is stopped.

    One that cannot run as it is configured ends alone: the others may have other devices.

    SIGTERM is passed on once. SIGINT is not: a terminal sends it to the whole group, and a second one would mean hurry.

    Args:
        on_failure: Called with a command that crashed, or cannot run as it is configured, and its exit code; must not
            raise.

    Returns:
        The exit code: `EX_CONFIG` where none can run as it is configured; else 0 where all others stopped in order, or
        that of the first that did not.
    """
    parent = _Parent(on_failure)
    signal.signal(signal.SIGTERM, parent.on_signal)
    signal.signal(signal.SIGINT, parent.on_signal)
    threads = [threading.Thread(target=parent.keep_running, args=(each,)) for each in commands]
    for thread in threads:
        thread.start()
    for thread in threads:
        # While one signal is on its way to this thread, the kernel gives the next to another one, which interrupts no
        # wait here; its handler runs when the wait is over.
        while thread.is_alive():
            thread.join(_HEED_SIGNALS_EVERY_S)
    ran = [code for code in parent.codes if code != EX_CONFIG]
    return next((code for code in ran if code), 0) if ran else EX_CONFIG


class _Parent:
    """Attributes: `codes`, how the children ended for good."""

    def __init__(self, on_failure: OnFailure) -> None:
        self.codes: list[int] = []
        self._on_failure = on_failure
        self._stopping = threading.Event()
        self._lock = threading.RLock()  # Signals come in between. Guards what follows.
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_passed_on = False

    def keep_running(self, command: Command) -> None:
        """Until it ends for good; then nobody else goes on either, unless it was a matter of its own configuration."""
        try:
            code = self._run_again_and_again(command)
        except OSError as exc:
            log.error("worker process cannot be started", reason=str(exc))
            code = os.EX_OSERR
        except Exception:
            log.exception("bug in the parent of worker processes")
            code = os.EX_SOFTWARE
        self.codes.append(code)
        if code == EX_CONFIG:
            self._on_failure(command, code)
            return
        with self._lock:
            if not self._stopping.is_set():
                self._terminate()

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        with self._lock:
            if number == signal.SIGTERM:
                self._terminate()
            self._stopping.set()

    def _terminate(self) -> None:
        self._stopping.set()
        if not self._is_passed_on:
            self._is_passed_on = True
            for child in self._running:
                child.terminate()

    def _run_again_and_again(self, command: Command) -> int:
        # Not tenacity's: a run is no try, and its pauses do not begin anew after a good one.
        pause_s = _FIRST_PAUSE_S
        while True:
            started = time.monotonic()
            code = self._run(command)
            if self._stopping.is_set() and code == -signal.SIGTERM:  # The signal came before its handler was set.
                return 0
            if self._stopping.is_set() or code in _FOR_GOOD:
                return code
            if time.monotonic() - started > _GOOD_RUN_S:
                pause_s = _FIRST_PAUSE_S
            log.error("worker process ended; starting another", exit_code=code, pause_s=pause_s)
            self._on_failure(command, code)
            if self._stopping.wait(pause_s):
                return 0
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _run(self, command: Command) -> int:
        with self._lock:
            if self._stopping.is_set():
                return 0
            child = subprocess.Popen(command.argv, env={**os.environ, **command.env})
            self._running.add(child)
        try:
            return child.wait()
        finally:
            with self._lock:
                self._running.discard(child)
