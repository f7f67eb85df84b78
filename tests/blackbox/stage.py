"""A system whose workers are started, and whose jobs are sent, by whatever is tried in it."""

from __future__ import annotations

import os
import signal
from typing import Any

from tests.blackbox.outside import QUEUE, Fan
from tests.blackbox.system import ENDED, Command, System, simulated, until

LONG = {"num_inference_steps": 1000}  # A minute; nobody waits for its end.
SOME = {"num_inference_steps": 150}  # Some seconds: long enough to be met while it runs.

# All of a sender's jobs share a pass, so that they run at the same time.
MODELS = simulated(launch_s=0.05, row_s=0.001) + simulated("idle", launch_s=0.05, row_s=0.001)


class Stage:
    """
    A system whose workers are started by the way that is tried, and one sender.

    Args:
        standing: A worker that runs already and that no way ends; it is the one that they all have.
    """

    def __init__(self, system: System, standing: Command | None = None) -> None:
        self.system = system
        self.client = system.redis()
        self.app = system.celery()
        self._standing = standing
        self._is_paused = False
        self._fan: Fan | None = None

    @property
    def fan(self) -> Fan:
        assert self._fan is not None, "send() first"
        return self._fan

    def worker(self, model: str = "sim", **settings: str) -> Command:
        """A worker, told of the place for results as the first version had to be."""
        if self._standing is not None:
            assert (model, settings) == ("sim", {}), "all have the one worker"
            return self._standing
        variables = {"IMAGEMILL_RESULT_BACKEND_URL": self.system.redis_server.url}
        variables |= {f"IMAGEMILL_{name}": value for name, value in settings.items()}
        return self.system.worker("--model", model, "--concurrency", "16", env=variables)

    def serve(self) -> None:
        """An API process, if there is none."""
        if self.system.api is None:
            self.system.serve()

    def send(self, fields: dict[str, Any] | None = None, **options: Any) -> None:
        self._fan = Fan.send(self.app, fields, **options)

    def statuses(self) -> list[Any]:
        """Of all jobs, as they stand in the table."""
        return [self.client.hget(f"imagemill:job:{job_id}", "status") for job_id in self.fan.ids]

    def adopted(self) -> None:
        until("all messages are jobs", lambda: all(self.statuses()))

    def running(self) -> None:
        """All that have not ended generate: a worker that drains gives back what has not come so far."""

        def run() -> bool:
            where = zip(self.statuses(), self._stages(), strict=True)
            of_others = {stage for status, stage in where if status not in ENDED}
            assert of_others, f"all have ended before they were met: {self.statuses()}"
            return of_others == {"generate"}

        until("all jobs run", run)

    def _stages(self) -> list[Any]:
        return [self.client.hget(f"imagemill:job:{job_id}", "stage") for job_id in self.fan.ids]

    def ended(self) -> None:
        until("all jobs have ended", lambda: set(self.statuses()) <= set(ENDED))

    def cli(self, *args: str) -> None:
        done = self.system.cli(*args)
        assert done.returncode == 0, done.stdout + done.stderr

    def pause(self) -> None:
        self.cli("queue", "pause", QUEUE)
        self._is_paused = True

    def resume(self) -> None:
        self.cli("queue", "resume", QUEUE)
        self._is_paused = False

    def tidy(self) -> None:
        """Leave the system as the next way expects it."""
        if self._is_paused:
            self.resume()

    def revoke(self) -> None:
        """Until a worker has answered."""
        replies = self.app.control.revoke(self.fan.ids, reply=True, timeout=30, limit=1)
        assert replies, "no worker has heard of it"

    def waits_in_a_paused_queue(self, **options: Any) -> None:
        self.worker()
        self.pause()
        self.send(**options)
        self.adopted()

    def runs_for_long(self, **options: Any) -> Command:
        worker = self.worker()
        self.send(LONG, **options)
        self.running()
        return worker


def kill(worker: Command) -> None:
    assert worker.pid is not None
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait_for_exit()
