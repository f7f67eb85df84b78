"""
Faults that strike inside a process, by wrapping what it imports: the product has no failpoints.

Each notes that it struck before it does, in the file that `FAULTS_EVIDENCE` names: a run without evidence fails.
"""

from __future__ import annotations

import fcntl
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

_SHIFTED_FROM = time.time


def kill_before_claim(times: int = 1) -> None:
    """SIGKILL ourselves when a message has been popped and its job is not claimed yet."""

    def before(_table: Any, job_id: str, **_: Any) -> None:
        if _strike("kill_before_claim", times, job_id=job_id):
            _kill()

    _before("jobs.table.table", "JobTable.claim", before)


def kill_before_publish() -> None:
    """SIGKILL ourselves when a job is in the table and its message has not been sent yet."""

    def before(_dispatcher: Any, job_ids: list[str], **_: Any) -> None:
        if _strike("kill_before_publish", 1_000, job_ids=list(job_ids)):
            _kill()

    _before("jobs.broker.dispatch", "Dispatcher.send", before)


def kill_before_told(times: int = 1) -> None:
    """SIGKILL ourselves when the end of a job is told, and that it is told is not noted yet."""

    def before(_outbox: Any, end: Any) -> None:
        if _strike("kill_before_told", times, job_id=end.record.id):
            _kill()

    _before("jobs.table.outbox", "Outbox.notified", before)


def kill_before_body(times: int = 1) -> None:
    """SIGKILL ourselves when we have said that we send the body of a chord, and have not sent it yet."""

    def before(_amqp: Any, _send: Any, parts: Any) -> None:
        if _strike("kill_before_body", times, parts=len(parts)):
            _kill()

    _before("celery.app.amqp", "AMQP._retry_publish", before)


def kill_with_messages_in_hand(times: int = 1) -> None:
    """SIGKILL ourselves when messages of others were taken out of their lists, and no job is made of them yet."""

    def before(_adoption: Any, held: Any, *_: Any) -> None:
        if _strike("kill_with_messages_in_hand", times, tag=held.tag):
            _kill()

    _before("workers.delivery.adoption", "Adoption._prepare", before)


def kill_in_forward(prompt: str, times: int = 1_000_000) -> None:
    """SIGKILL ourselves in a forward pass that holds a job with this prompt."""

    def before(_model: Any, batch: Any, *_: Any) -> None:
        if any(each.spec.prompt == prompt for each in batch) and _strike("kill_in_forward", times, batch=len(batch)):
            _kill()

    _before("workers.families.simulated", "SimulatedModel.predict", before)


def kill_in_postprocess(prompt: str, times: int = 1_000_000) -> None:
    """SIGKILL ourselves while a picture of a job with this prompt becomes a file."""

    def before(_pixels: Any, spec: Any, *_: Any) -> None:
        if spec.prompt == prompt and _strike("kill_in_postprocess", times):
            _kill()

    _before("workers.runners.pictures", "postprocess", before)


def hang_in_forward(prompt: str, times: int = 1) -> None:
    """Never come back from a forward pass that holds a job with this prompt."""

    def before(_model: Any, batch: Any, *_: Any) -> None:
        if any(each.spec.prompt == prompt for each in batch) and _strike("hang_in_forward", times):
            while True:
                time.sleep(3600)

    _before("workers.families.simulated", "SimulatedModel.predict", before)


def slow_ends(seconds: float) -> None:
    """Postprocess and upload take a while each, so that a random moment finds jobs in them."""
    for module, name in (("workers.runners.pictures", "postprocess"), ("workers.attempt.upload", "_upload_image")):
        _before(module, name, lambda *_args, **_fields: time.sleep(seconds))


def slow_encode(seconds: float) -> None:
    """As `slow_ends`, of the stage that a simulated model is through with at once; no pass is made meanwhile."""
    _before("workers.families.simulated", "SimulatedModel.encode", lambda *_args: time.sleep(seconds))


def fail_at_start(times: int) -> None:
    """Die while loading the model, so many times."""

    def before(*_: Any) -> None:
        if _strike("fail_at_start", times):
            os._exit(9)

    _before("workers.process.worker", "WorkerProcess.__init__", before)


def be_newer() -> None:
    """Write, and understand, records of the next schema version."""

    def raise_version(module: ModuleType) -> None:
        module.__dict__["SCHEMA_VERSION"] += 1

    sys.meta_path.insert(0, _AfterImport("jobs.names", raise_version))


def shift_clock(seconds: float) -> None:
    """
    Have the time of day go wrong by so many seconds; monotonic clocks stay right.

    `datetime` keeps telling the truth: with it S3 requests are signed, and S3 refuses those of a clock 15 min off.
    """
    time.time = lambda: _SHIFTED_FROM() + seconds
    nanoseconds = time.time_ns
    time.time_ns = lambda: nanoseconds() + int(seconds * 1e9)
    _strike("shift_clock", 1_000_000, reads=time.time())


def _kill() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def _strike(fault: str, times: int, **what: object) -> bool:
    """Note that a fault strikes, unless it has done so often enough in all processes together."""
    with Path(os.environ["FAULTS_EVIDENCE"]).open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        struck = sum(json.loads(line)["fault"] == fault for line in file.read().splitlines())
        if struck >= times:
            return False
        print(json.dumps({"fault": fault, "pid": os.getpid(), "at": _SHIFTED_FROM(), **what}), file=file)
        return True


def _before(module: str, path: str, call: Callable[..., None]) -> None:
    """Once a module is imported, have `call` go before a function of it, with the same arguments."""

    def wrap(loaded: ModuleType) -> None:
        *owners, name = path.split(".")
        owner: Any = loaded
        for each in owners:
            owner = getattr(owner, each)
        function = getattr(owner, name)

        def wrapped(*args: Any, **fields: Any) -> Any:
            call(*args, **fields)
            return function(*args, **fields)

        setattr(owner, name, wrapped)

    sys.meta_path.insert(0, _AfterImport(module, wrap))


class _AfterImport(importlib.abc.MetaPathFinder):
    def __init__(self, module: str, then: Callable[[ModuleType], None]) -> None:
        self._module, self._then = module, then

    def find_spec(self, name: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        if name != self._module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.loader is not None
        execute, then = spec.loader.exec_module, self._then

        def execute_and_wrap(module: ModuleType) -> None:
            execute(module)
            then(module)

        spec.loader.exec_module = execute_and_wrap  # type: ignore[method-assign]
        return spec
