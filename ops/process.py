"""A child process of the local stack: started, watched until it answers, and stopped by its pid with all it started."""

from __future__ import annotations

import http.client
import os
import secrets
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from threading import Thread
from typing import ClassVar, Self

from jobs.errors import ImagemillError

LOOPBACK = "127.0.0.1"
PROBE_TIMEOUT_S = 1.0
_FIRST_PORT, _EPHEMERAL_PORT = (
    10_000,
    32_768,
)  # Connections get ports from the second on, on Linux.
_POLL_INTERVAL_S = 0.05
_LAST_LINES = 20  # of a process' output, kept for the message that says why it ended


class StackError(ImagemillError):
    """A part of the local stack did not start, or ended; the text says which, why, and what to do."""


def never() -> bool:
    """Nobody asks to stop."""
    return False


def wait_until(condition: Callable[[], bool], deadline_s: float) -> bool:
    """Poll a condition; whether it came true within the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_INTERVAL_S)
    return True


def free_port(count: int = 1) -> int:
    """
    A port of the loopback address that nothing listens on, or the first of so many in a row.

    None of those that the kernel gives to connections by itself: one of these could have it before it is used.
    """
    while True:
        first = _FIRST_PORT + secrets.randbelow(_EPHEMERAL_PORT - _FIRST_PORT - count)
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind((LOOPBACK, port))
        except OSError:
            continue
        return first


def http_status(port: int, path: str = "/") -> int:
    """The status that a loopback port answers a GET with, 0 where none answers; no proxy is asked."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
    return response.status


class Process(ABC):
    """
    A child process: started once at a time, watched, and stopped by its pid with all that it started.

    Attributes:
        name: What people call it, e.g. "redis".
        grace_s: Time between SIGTERM and SIGKILL.
        port: The loopback port that it listens on, if it does; 0 becomes a free one.
        port_setting: The setting that chooses another port.
        idle_lines: Lines with one of these in them have no information, and are not passed on.
    """

    grace_s = 10.0
    port_setting = ""
    idle_lines: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, name: str, *, port: int | None = None, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self.name = name
        self.port = free_port() if port == 0 else port
        self._env, self._cwd = env, cwd
        self._child: subprocess.Popen[str] | None = None
        self._reader: Thread | None = None
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)

    @abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers; asked again and again while it starts, so it must return within about a second."""

    @property
    def env(self) -> Mapping[str, str]:
        """What it was given for its environment; empty where it inherits ours."""
        return self._env or {}

    @property
    def pid(self) -> int | None:
        """The child's process id, and that of its process group; None while there is no child."""
        return self._child.pid if self._child else None

    @property
    def exit_code(self) -> int | None:
        """The code that it ended with (−N: by signal N); None while it runs or was never started."""
        return self._child.poll() if self._child else None

    def start(self, on_line: Callable[[str], None] | None = None) -> None:
        """
        Start the child, in a session of its own, so that Ctrl-C reaches us alone.

        Args:
            on_line: Gets each line of its output, called from a thread.

        Raises:
            StackError: Its port is taken.
        """
        self._refuse_a_taken_port()
        self._last_lines.clear()
        self._child = subprocess.Popen(
            self.command(),
            env=self._env,
            cwd=self._cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._reader = Thread(target=self._read, args=(self._child, on_line), daemon=True)
        self._reader.start()

    def wait_until_ready(self, deadline_s: float = 30.0, is_stopping: Callable[[], bool] = never) -> None:
        """
        Wait until it answers; return early once `is_stopping`.

        Raises:
            StackError: It ended, or did not answer in time.
        """
        done = wait_until(lambda: is_stopping() or self.exit_code is not None or self.is_ready(), deadline_s)
        if self.exit_code is not None:  # Looked at last: it may be another program that answered.
            raise self.failure(f"ended with code {self.exit_code} while it started")
        if not done:
            raise self.failure(f"did not answer within {deadline_s:g} s")

    def stop(self, is_hurried: Callable[[], bool] = never) -> None:
        """
        Send SIGTERM, wait for the grace period or until `is_hurried`, then kill whatever is left of its process group.

        SIGTERM goes to the child alone, and once: what it started is its to stop, and a second one may mean hurry.
        """
        if self._child is None:
            return
        self._child.terminate()
        wait_until(lambda: self.exit_code is not None or is_hurried(), self.grace_s)
        with suppress(ProcessLookupError, PermissionError):  # PermissionError: macOS' answer for a group of zombies.
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        if self._reader:
            self._reader.join(timeout=PROBE_TIMEOUT_S)
        self._child = None

    def failure(self, what: str) -> StackError:
        """An error that says what happened to this process, and its last words."""
        if self._reader and self.exit_code is not None:
            self._reader.join(timeout=PROBE_TIMEOUT_S)
        where = f" ({LOOPBACK}:{self.port})" if self.port else ""
        last = "".join(f"\n  {line}" for line in self._last_lines)
        return StackError(
            f"{self.name}{where} {what}. " + (f"Its last lines:{last}" if last else "It printed nothing.")
        )

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _refuse_a_taken_port(self) -> None:
        if self.port is None:
            return
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # Else a port just given back looks taken.
            try:
                probe.bind((LOOPBACK, self.port))
            except OSError as exc:
                hint = (
                    f"; set {self.port_setting} to another port, or to 0 for any free one" if self.port_setting else ""
                )
                raise StackError(
                    f"{self.name} cannot listen on {LOOPBACK}:{self.port} ({exc.strerror}). "
                    f"Stop what uses that port, perhaps another `make up`{hint}."
                ) from exc

    def _read(self, child: subprocess.Popen[str], on_line: Callable[[str], None] | None) -> None:
        with child.stdout or nullcontext(()) as output:
            for line in output:
                if any(each in line for each in self.idle_lines):
                    continue
                if line.strip():
                    self._last_lines.append(line.rstrip())
                if on_line:
                    with suppress(OSError, ValueError):  # A closed terminal: an unread pipe would block the child.
                        on_line(line.rstrip())
