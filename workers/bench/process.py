"""
A contender in a process of its own.

Two that compute in one process would each have a team of OpenMP threads, more threads than cores, and disturb each
other (see `workers.engine.streams`). Here each has a process, of which one thread computes, and only one is asked at
a time. Imports no torch.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any, Self

from jobs.errors import ImagemillError
from workers.process.logs import configure_logging

_LEAVES_WITHIN_S = 5.0


class ContenderFailed(ImagemillError):
    """A contender could not start, or a call of it raised; the text says why."""


class Remote:
    """
    An object that lives in another process until `close`, which calls its own `close` where it has one.

    Args:
        factory: Makes the object there; a function of a module, which is imported there anew.
        args: For it; they are pickled.

    Raises:
        ContenderFailed: The factory raised.
    """

    def __init__(self, factory: Callable[..., object], *args: Any) -> None:
        self._name = factory.__name__
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, factory, args), daemon=True, name=self._name)
        self._process.start()
        theirs.close()
        try:
            self._receive()
        except ContenderFailed:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, method: str, *args: Any) -> Any:
        """
        Call a method of the object and wait for what it returns.

        Raises:
            ContenderFailed: It raised, or its process ended.
        """
        self._connection.send((method, args))
        return self._receive()

    def close(self) -> None:
        """End the process: it leaves when nobody can ask any more, unless it is busy."""
        self._connection.close()
        self._process.join(_LEAVES_WITHIN_S)
        self._process.terminate()
        self._process.join()

    def _receive(self) -> Any:
        try:
            is_well, result = self._connection.recv()
        except EOFError as exc:
            raise ContenderFailed(f"the process of {self._name} ended") from exc
        if not is_well:
            raise ContenderFailed(f"{self._name}: {result}")
        return result


def _serve(connection: Connection, factory: Callable[..., object], args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us.
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    # Its import advises on image processors, never used here.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    configure_logging(logging.WARNING)
    try:
        contender = factory(*args)
    except Exception as exc:  # noqa: BLE001 - whatever it is, the parent reports it
        connection.send((False, _sentence(exc)))
        return
    connection.send((True, None))
    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:
            break
        try:
            answer = (True, getattr(contender, method)(*arguments))
        except Exception as exc:  # noqa: BLE001 - as above
            answer = (False, _sentence(exc))
        connection.send(answer)
    getattr(contender, "close", lambda: None)()


def _end_with_parent() -> None:
    """A parent that was killed ends nobody, and a call may go on for minutes."""
    if (parent := multiprocessing.parent_process()) is not None:
        wait([parent.sentinel])
        os._exit(os.EX_OSERR)


def _sentence(exc: Exception) -> str:
    return str(exc) if isinstance(exc, ImagemillError) else "".join(traceback.format_exception(exc))
