"""The running system of one test: a Redis and an S3 store, workers with a simulated device, and whoever submits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import names
from jobs.process.settings import Settings
from jobs.redis.connection import connect
from jobs.table.table import QueueCounts
from ops.servers import RedisServer, S3Server
from ops.settings import CHECKOUT
from ops.stack import addresses
from producer import Client, Job
from storage.backends.s3.settings import S3Settings
from tests.faults.harness.waiting import PATIENCE_S, until
from tests.faults.harness.worker import Faults, WorkerUnderTest, with_faults

MODEL, QUEUE = "sim", "gpu.sim"
START_S = 600.0
SLOTS = 6  # of each worker

# Two rows share a pass of 0.07 s, so a worker has 4 seats, and runs about 28 steps a second.
CATALOGUE = """
[models.sim]
source = "launch_s=0.01 row_s=0.03 encode_s=0.02 decode_s=0.02"
revision = "test"
dtype = "float32"
family = "simulated"
schedulers = ["ddim"]
defaults = { width = 64, height = 64, num_inference_steps = 5, guidance_scale = 1.0, scheduler = "ddim" }
limits = { min_side = 64, max_side = 256, side_multiple = 8, max_steps = 1000, max_n = 4 }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What the table says of one job, beyond what its record shows."""

    status: str
    attempts: int
    deliveries: int
    epoch: int
    owner: str | None
    stage: str | None


class System:
    """
    Redis, S3, any number of workers, and a client. Owns every process that it started.

    Args:
        folder: Of this test alone.
        cache_dir: Where workers keep what they measured; shared, so that only the first one measures.
        env: `IMAGEMILL_*` variables of every process.
        models: The text of models.toml.
    """

    def __init__(
        self,
        folder: Path,
        redis_server: RedisServer,
        s3_server: S3Server,
        cache_dir: Path,
        env: dict[str, str] | None = None,
        models: str = CATALOGUE,
    ) -> None:
        self.folder = folder
        self.redis_server, self.s3_server = redis_server, s3_server
        self.workers: list[WorkerUnderTest] = []
        models_file = folder / "models.toml"
        models_file.write_text(models)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEMILL_")}
        own = {
            "PYTHONPATH": str(CHECKOUT),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
            "IMAGEMILL_MODELS_FILE": str(models_file),
            "IMAGEMILL_WORKER_CACHE_DIR": str(cache_dir),
            "IMAGEMILL_WORKER_SPOOL_DIR": str(folder / "spool"),
            "IMAGEMILL_WORKER_CONCURRENCY": str(SLOTS),  # Measured, it would be another on a busy machine.
        }
        self.env = {**inherited, **addresses(redis_server, s3_server), **own, **(env or {})}
        told_of = {name: self.env.get(f"IMAGEMILL_{name.upper()}") for name in Settings.model_fields}
        self.settings = Settings.model_validate({name: value for name, value in told_of.items() if value is not None})
        self.client = Client(self.settings, S3Settings(endpoint_url=s3_server.endpoint))
        self.client.parts.store.prepare()
        self.redis = connect(self.settings)
        self.evidence_file = folder / "evidence"

    def worker(
        self,
        faults: Faults | None = None,
        *,
        alone: bool = False,
        env: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
        checkout: Path = CHECKOUT,
    ) -> WorkerUnderTest:
        """Start a worker from a checkout, with these words in front of its command; wait with `ready`."""
        env = with_faults(self.env_in(checkout) | (env or {}), faults, self.evidence_file)
        worker = WorkerUnderTest(env, queues=[QUEUE], alone=alone, prefix=prefix, checkout=checkout)
        worker.start()
        self.workers.append(worker)
        return worker

    def ready(self, *workers: WorkerUnderTest) -> None:
        """Wait until these workers, or all that were started, take jobs."""
        for worker in workers or self.workers:
            worker.wait_until_ready(START_S)

    def run_workers(self, count: int, env: dict[str, str] | None = None) -> list[WorkerUnderTest]:
        """Start some healthy workers and wait for them."""
        started = [self.worker(env=env) for _ in range(count)]
        self.ready(*started)
        return started

    def submit(self, count: int, steps: int = 5, prompt: str = "a test picture", **fields: Any) -> list[Job]:
        """Submit jobs of so many steps."""
        return self.client.submit_many({"prompt": prompt, "num_inference_steps": steps, **fields} for _ in range(count))

    def env_in(self, checkout: Path) -> dict[str, str]:
        """The environment of a process that runs a checkout's code; of a version that may not know every setting."""
        env = self.env | {"PYTHONPATH": str(checkout)}
        if checkout != CHECKOUT:
            del env["IMAGEMILL_STORAGE"]  # It says the default.
        return env

    def cli(
        self, *args: str, faults: Faults | None = None, checkout: Path = CHECKOUT
    ) -> subprocess.CompletedProcess[str]:
        """Run `./imagemill ARGS…` of a checkout to its end."""
        env = with_faults(self.env_in(checkout), faults, self.evidence_file)
        command = [sys.executable, "-m", "ops.cli", *args]
        return subprocess.run(
            command, env=env, cwd=checkout, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )

    def evidence(self, fault: str) -> list[dict[str, Any]]:
        """What an injected fault noted each time when it struck."""
        if not self.evidence_file.exists():
            return []
        notes = [json.loads(line) for line in self.evidence_file.read_text().splitlines()]
        return [note for note in notes if note["fault"] == fault]

    def counts(self, job: Job) -> Counts:
        """The job's counters; a read, like any other."""
        self.watch([job])
        fields: dict[str, str] = self.redis.hgetall(names.job_key(job.id))  # type: ignore[assignment]
        numbers = {name: int(fields.get(name) or 0) for name in ("attempts", "deliveries", "epoch")}
        return Counts(status=fields["status"], owner=fields.get("owner"), stage=fields.get("stage"), **numbers)

    def watch(self, jobs: Sequence[Job]) -> None:
        """Read these jobs, so that they tell in which stage they are."""
        self.client.parts.table.watch([job.id for job in jobs])

    def counts_of_queue(self) -> QueueCounts:
        """How many jobs wait, are released, run."""
        return next(each for each in self.client.queues() if each.queue == QUEUE)

    def claims(self, job: Job) -> list[float]:
        """When the job was claimed, Unix seconds of Redis' clock."""
        return [at for at, kind, data in self.events(job) if kind == "status" and data["status"] == "processing"]

    def entered(self, job: Job, stage: str) -> list[float]:
        """When the job entered a stage, as far as it was noted; Unix seconds of Redis' clock."""
        noted = [
            (at, data["step"]) for at, kind, data in self.events(job) if kind == "progress" and data["stage"] == stage
        ]
        return [at for at, step in noted if step == 0]

    def events(self, job: Job) -> list[tuple[float, str, dict[str, Any]]]:
        """Time (Redis' clock, s), type and data of each event that the job has had."""
        found: Any = self.redis.xrange(names.events_key(job.id))
        return [(int(at.split("-")[0]) / 1000, each["type"], json.loads(each["data"])) for at, each in found]

    def now(self) -> float:
        """Redis' clock, Unix seconds."""
        seconds, micros = self.redis.time()
        return float(seconds) + float(micros) / 1e6

    def held_by(self, owner: str) -> list[str]:
        """Ids of the jobs that run, by the table, in a worker's process."""
        ids: list[str] = self.redis.zrange(names.running_key(QUEUE), 0, -1)  # type: ignore[assignment]
        owners = [self.redis.hget(names.job_key(job_id), "owner") for job_id in ids]
        return [job_id for job_id, each in zip(ids, owners, strict=True) if each == owner]

    def finish(self, jobs: Sequence[Job], deadline_s: float = 2 * PATIENCE_S) -> None:
        """Wait until all these jobs have ended."""

        def left() -> list[str]:
            pipeline = self.redis.pipeline(transaction=False)
            for job in jobs:
                pipeline.hget(names.job_key(job.id), "status")
            return [status for status in pipeline.execute() if status in ("queued", "processing")]

        until(f"all {len(jobs)} jobs have ended", lambda: not left(), deadline_s)

    def objects(self, job: Job) -> list[str]:
        """Keys of all objects in the store that belong to a job, whichever attempt wrote them."""
        bucket = self.s3_server.folder / self.env["IMAGEMILL_S3_BUCKET"]
        folders = bucket.glob(f"*/*/*/{job.id}")
        return sorted(
            str(path.relative_to(bucket)) for folder in folders for path in folder.rglob("*") if path.is_file()
        )

    def close(self) -> None:
        """End every process that this system started."""
        for worker in self.workers:
            if worker.pid is not None and worker.exit_code is None:
                worker.grace_s = 0.0
            worker.stop()
        self.redis.close()
