"""
`python -m tests.warm.fork_server FD`: forks what it is asked for over a socket of messages (`SOCK_SEQPACKET`).

It has one thread, and becomes itself what it was asked for, in the child. A worker's parent forks its processes from
there, for it has to be their parent.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import inspect
import json
import logging
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

OURS = ("jobs", "ops", "producer", "storage", "workers")
CHECKOUT = Path(__file__).resolve().parents[2]
MESSAGE_BYTES = 1 << 20
_LIBRARIES_OF = {"ops.cli": "ops.cli", "api": "producer.api.app", "worker": "workers.process.worker"}
_ON_PATH = list(sys.path[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """
    `python -m MODULE ARGS…`, in an environment and a folder.

    Attributes:
        leads: Whether it has a session of its own.
    """

    module: str
    args: list[str]
    env: dict[str, str]
    cwd: str
    leads: bool

    @classmethod
    def of(cls, command: Any, env: Mapping[str, str] | None, cwd: Any, *, leads: bool) -> Program | None:
        """What a command starts, if that can be done by a fork."""
        if isinstance(command, str | bytes | os.PathLike):
            return None
        words, own = [os.fspath(each) for each in command], dict(os.environ if env is None else env)
        if own.get("PYTHONPATH", "") not in ("", str(CHECKOUT)) or "IMAGEMILL_PYTHON" in own:
            return None
        if "worker" in words and own.get("OMP_NUM_THREADS") != "1":  # torch reads it when it is imported.
            return None
        if words[0] == str(CHECKOUT / "imagemill"):
            words = [sys.executable, "-m", "ops.cli", *words[1:]]
            own |= {"PYTHONPATH": str(CHECKOUT), "PYTHONSAFEPATH": "1"}
        elif os.fspath(cwd or Path.cwd()) != str(CHECKOUT):
            return None
        if words[:2] != [sys.executable, "-m"] or words[2] not in ("ops.cli", "celery") or "flower" in words:
            return None
        return cls(module=words[2], args=words[3:], env=own, cwd=os.fspath(cwd or Path.cwd()), leads=leads)

    def message(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @property
    def needs(self) -> list[str]:
        """Our modules that import the libraries which it will."""
        words = [self.module, *self.args[:1]]
        found = [module for word, module in _LIBRARIES_OF.items() if word in words]
        return [*found, *self._families()] if "worker" in words else found

    def _families(self) -> list[str]:
        """Of the models that a worker serves, the built-in one without a file."""
        file = Path(self.cwd, self.env.get("IMAGEMILL_MODELS_FILE", CHECKOUT / "models.toml"))
        named = (
            set(re.findall(r'^family = "([a-z-]+)"', file.read_text("utf-8"), re.MULTILINE)) if file.exists() else ()
        )
        names = [name.replace("-", "_") for name in sorted(named)]
        return [f"workers.families.{each}" for each in names if (CHECKOUT / "workers/families" / f"{each}.py").exists()]

    def become(self, files: tuple[int, int, int]) -> None:
        """Be this program from here on, with this standard input, output and error; ends the process."""
        if self.leads:
            os.setsid()
        for number, each in enumerate(files):
            os.dup2(each, number)
        for name in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(name, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(self.cwd)
        os.environ.clear()
        os.environ.update(self.env)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(write_through="PYTHONUNBUFFERED" in self.env)  # type: ignore[union-attr]
        sys.path[:] = [str(CHECKOUT), *_ON_PATH]
        sys.argv[:] = [self.module, *self.args]
        _forget_ours()
        subprocess.Popen = _Forked  # type: ignore[misc]
        runpy.run_module(self.module, run_name="__main__", alter_sys=True)


class _Forked(subprocess.Popen):  # type: ignore[type-arg]
    """What a process of ours starts of ours: a child of its own, forked."""

    def _execute_child(self, *told: Any) -> None:
        asked = Asked.of(told)
        program = asked.program(CHECKOUT)
        if program is None:
            super()._execute_child(*told)  # type: ignore[misc]
            return
        self.pid = os.fork()
        if self.pid == 0:
            _end_as(program, asked.files)
        self._child_created = True
        self._close_pipe_fds(*asked.pipes)  # type: ignore[attr-defined]


class Asked:
    """
    What `Popen._execute_child` of CPython 3.11 is told.

    Attributes:
        pipes: File descriptors, those of both sides for input, output and error; -1 where it is ours.
    """

    _NAMES = tuple(inspect.signature(subprocess.Popen._execute_child).parameters)[1:]  # type: ignore[attr-defined]
    _PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")

    def __init__(self, told: Mapping[str, Any]) -> None:
        self._told = told
        self.pipes = [told[name] for name in self._PIPES]

    @classmethod
    def of(cls, told: Sequence[Any]) -> Asked:
        """Of its arguments, in their order."""
        return cls(dict(zip(cls._NAMES, told, strict=True)))

    @property
    def files(self) -> tuple[int, int, int]:
        """The child's standard input, output and error."""
        ends = ("p2cread", "c2pwrite", "errwrite")
        first, second, third = (own if self._told[end] == -1 else self._told[end] for own, end in enumerate(ends))
        return first, second, third

    def program(self, folder: Path | None = None) -> Program | None:
        """What is to be started, in this folder unless another is told; None for what takes more than a fork."""
        if self._told["preexec_fn"] or self._told["pass_fds"]:
            return None
        leads, cwd = bool(self._told["start_new_session"]), self._told["cwd"] or folder
        return Program.of(self._told["args"], self._told["env"], cwd, leads=leads)


def _end_as(program: Program, files: tuple[int, int, int]) -> None:
    """In a child that was forked in the middle of something: what Python does at its own end."""
    code = 1
    try:
        atexit._clear()
        logging.root.handlers.clear()
        structlog.reset_defaults()
        program.become(files)
        code = 0
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 0xFF)


def _forget_ours() -> None:
    for name in [each for each in sys.modules if each.split(".")[0] in OURS]:
        del sys.modules[name]


def _import_libraries(modules: list[str], known: set[str]) -> None:
    """By way of our modules, which are forgotten again."""
    new = set(modules) - known
    for module in sorted(new):
        importlib.import_module(module)
    known |= new
    _forget_ours()
    if new:
        gc.collect()
        gc.freeze()  # Shared with the children for as long as nobody writes to it.


def serve(asked: socket.socket) -> tuple[Program, tuple[int, int, int]] | None:
    """Answer until nobody asks any more; returns in each child, with what it has to become."""
    known: set[str] = set()
    while True:
        text, files, *_ = socket.recv_fds(asked, MESSAGE_BYTES, 3)
        if not text:
            return None
        told = json.loads(text)
        if "poll" in told:
            pid, status = os.waitpid(told["poll"], os.WNOHANG)
            asked.send(json.dumps(status if pid else None).encode())
            continue
        program = Program(**told)
        _import_libraries(program.needs, known)
        pid = os.fork()
        if pid == 0:
            asked.close()
            return program, (files[0], files[1], files[2])
        for each in files:
            os.close(each)
        asked.send(json.dumps(pid).encode())


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The test's; whoever is forked listens again.
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        found = serve(asked)
    if found:
        program, files = found
        program.become(files)


if __name__ == "__main__":
    main()
