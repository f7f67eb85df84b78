"""A system whose number of workers changes while it is measured, and what its processes cost."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import redis

from jobs.process.settings import load_settings
from ops.process import Process, StackError, never, wait_until
from ops.programs import Program
from ops.settings import load_stack_settings
from ops.stack import local_stack, metrics_env, storage_at
from producer import Client

_START_S = 600.0  # Imports torch; all that are missing start at once.
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class ChangingFleet:
    """
    Redis, S3, and as many workers as `set_size` says, on free ports.

    Attributes:
        client: Of this system, with its catalogue.
        redis: For what a client of jobs does not ask.
    """

    def __init__(self, data: Path, variables: Mapping[str, str]) -> None:
        nothing_else = load_stack_settings(redis_port=0, s3_port=0, flower_port=0, api_port=None)
        stack = local_stack(nothing_else, data, variables)
        self._servers: Sequence[Process] = stack.servers
        self._env = stack.env
        self._workers: list[Program] = []
        settings = load_settings(
            redis_url=self._env["IMAGEMILL_REDIS_URL"], models_file=Path(self._env["IMAGEMILL_MODELS_FILE"])
        )
        self.client = Client(settings, storage_at(self._env["IMAGEMILL_S3_ENDPOINT_URL"]))
        self.redis = redis.Redis.from_url(settings.redis_url, decode_responses=True)

    def start(self) -> None:
        """Start the servers. Raises `StackError`."""
        for server in self._servers:
            server.start()
            server.wait_until_ready()

    def set_size(self, workers: int) -> None:
        """
        Start what is missing and stop what is too much; each is ready, or gone, afterwards.

        Raises:
            StackError: One did not start.
        """
        while len(self._workers) > workers:
            self._workers.pop().stop()
        while len(self._workers) < workers:
            command = [sys.executable, "-m", "ops.cli", "worker"]
            env = {**self._env, **metrics_env(0)}
            worker = Program(f"worker {len(self._workers) + 1}", command, env, never)
            self._workers.append(worker)
            worker.start()
        if not wait_until(lambda: self._ready() == workers or self._ended() is not None, _START_S):
            raise StackError(f"{workers} workers were not ready within {_START_S:g} s")
        if ended := self._ended():
            raise ended.failure(f"ended with code {ended.exit_code}")

    @property
    def slots(self) -> list[int]:
        """How many jobs each worker takes at a time."""
        return [each.slots for each in self.client.workers()]

    def cpu_s(self) -> dict[str, float]:
        """Seconds of processor time so far, of the workers together, of each server, and of this process; on Linux."""
        workers = sum(_cpu_s(each.pid) for each in self._workers)
        return {
            "workers": workers,
            **{each.name: _cpu_s(each.pid) for each in self._servers},
            "submitting": sum(os.times()[:2]),
        }

    def close(self) -> None:
        """Stop everything."""
        self.client.close()
        self.redis.close()
        for process in reversed([*self._servers, *self._workers]):
            process.stop()

    def _ready(self) -> int:
        """Only those count that a worker stands behind: who left in order has said so."""
        return sum(each.state in ("ready", "busy") for each in self.client.workers())

    def _ended(self) -> Program | None:
        return next((each for each in self._workers if each.exit_code is not None), None)


@contextmanager
def changing_fleet(variables: Mapping[str, str]) -> Iterator[ChangingFleet]:
    """
    A fleet without workers yet; everything of it is gone at the end.

    Args:
        variables: `IMAGEMILL_*` variables for its processes; the client has the same catalogue.

    Raises:
        StackError: A server did not start.
    """
    with TemporaryDirectory(prefix="imagemill-bench-") as data:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # So that nothing is left behind.
        fleet = ChangingFleet(Path(data), variables)
        try:
            fleet.start()
            yield fleet
        finally:
            fleet.close()
            signal.signal(signal.SIGTERM, before)


def _cpu_s(pid: int | None) -> float:
    """Of a process and all that it started and that still runs; 0 where there is no /proc."""
    if pid is None:
        return 0.0
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()
        # Those of each thread: proc(5), /proc/pid/task/tid/children.
        children = [
            child
            for thread in Path(f"/proc/{pid}/task").glob("*/children")
            for child in thread.read_text("utf-8").split()
        ]
    except OSError:
        return 0.0
    own = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S  # utime and stime: proc(5), fields 14 and 15
    return own + sum(_cpu_s(int(child)) for child in children)
