"""`subprocess.Popen` that has the fork server fork what is ours."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.warm.fork_server import CHECKOUT, MESSAGE_BYTES, Asked, Program

_Popen = subprocess.Popen


class ForkServer:
    """One for a process that runs tests; it ends with it."""

    def __init__(self) -> None:
        self._asked, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        # What libraries read when they are imported.
        env = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEMILL_")}
        env |= {"OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"}
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, "-m", "tests.warm.fork_server", str(number)]
            self._process = _Popen(command, cwd=CHECKOUT, env=env, pass_fds=[number], start_new_session=True)

    def fork(self, program: Program, files: tuple[int, int, int]) -> int:
        """The id of the process that is this program from now on."""
        return int(self._ask(program.message(), files))

    def status_of(self, pid: int) -> int | None:
        """As `os.waitpid` has it, if that process has ended; once."""
        status = self._ask(json.dumps({"poll": pid}).encode())
        return None if status is None else int(status)

    def _ask(self, message: bytes, files: tuple[int, ...] = ()) -> Any:
        with self._lock:
            socket.send_fds(self._asked, [message], files)
            answer = self._asked.recv(MESSAGE_BYTES)
        if not answer:
            raise RuntimeError("the fork server of the tests has ended; TESTS_COLD=1 does without it")
        return json.loads(answer)

    def close(self) -> None:
        self._asked.close()
        self._process.wait()


def _wait_for_end_of(pid: int) -> None:
    number = os.pidfd_open(pid)
    try:
        select.select([number], [], [])
    finally:
        os.close(number)


@contextmanager
def cold() -> Iterator[None]:
    """For as long as this lasts, all is started as always: for what is found by its command line."""
    current = subprocess.Popen
    subprocess.Popen = _Popen  # type: ignore[misc]
    try:
        yield
    finally:
        subprocess.Popen = current  # type: ignore[misc]


@contextmanager
def forked() -> Iterator[None]:
    """For as long as this lasts, `subprocess` starts processes of ours by a fork, where it can."""
    fork_server: ForkServer | None = None
    lock = threading.Lock()

    def the_nursery() -> ForkServer:
        nonlocal fork_server
        with lock:
            fork_server = fork_server or ForkServer()
            return fork_server

    class Warm(_Popen):  # type: ignore[type-arg]
        _is_warm = False

        def _execute_child(self, *told: Any) -> None:
            asked = Asked.of(told)
            program = asked.program()
            if program is None:
                super()._execute_child(*told)  # type: ignore[misc]
                return
            self._is_warm = True
            self.pid = the_nursery().fork(program, asked.files)
            self._child_created = True
            self._close_pipe_fds(*asked.pipes)  # type: ignore[attr-defined]

        def _try_wait(self, wait_flags: int) -> tuple[int, int]:
            if not self._is_warm:
                return super()._try_wait(wait_flags)  # type: ignore[misc,no-any-return]
            if not wait_flags & os.WNOHANG:
                _wait_for_end_of(self.pid)
            status = the_nursery().status_of(self.pid)
            return (0, 0) if status is None else (self.pid, status)

        def _internal_poll(self, *more: Any, **named: Any) -> int | None:
            if not self._is_warm:
                return super()._internal_poll(*more, **named)  # type: ignore[misc,no-any-return]
            if self.returncode is None and self._waitpid_lock.acquire(blocking=False):  # type: ignore[attr-defined]
                try:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid:
                        self._handle_exitstatus(status)  # type: ignore[attr-defined]
                finally:
                    self._waitpid_lock.release()  # type: ignore[attr-defined]
            return self.returncode

    subprocess.Popen = Warm  # type: ignore[misc]
    try:
        yield
    finally:
        subprocess.Popen = _Popen  # type: ignore[misc]
        if fork_server:
            fork_server.close()
