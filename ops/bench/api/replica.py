"""One API process on a core of its own, with servers and jobs, for measurements of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import redis

from jobs.process.settings import load_settings
from jobs.table.states import Status
from jobs.table.table import JobTable
from ops.bench.api.http_load import Target
from ops.process import LOOPBACK
from ops.programs import Api
from ops.servers import RedisServer, S3Server
from ops.stack import addresses, storage_at
from producer import Client

_IMAGE = {
    "key": "2026/11/24/job/1-token/0.png",
    "content_type": "image/png",
    "width": 1024,
    "height": 1024,
    "bytes": 1_500_000,
    "sha256": "0" * 64,
    "seed": 7,
}
_LEASE_S = 3_600.0  # What is claimed here stays so.


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """
    An API that runs.

    Attributes:
        target: Its address, and a job that is running as far as the table knows.
        redis: Its Redis.
        finished, queued: Jobs, by their paths; the queued one stands behind others.
    """

    target: Target
    redis: redis.Redis
    finished: str
    queued: str

    def commands(self) -> int:
        """How many commands Redis has run, INFO apart."""
        stats: Mapping[str, Mapping[str, int]] = self.redis.info("commandstats")
        return sum(each["calls"] for name, each in stats.items() if name != "cmdstat_info")


@contextmanager
def replica(jobs: int, settings: Mapping[str, str]) -> Iterator[Replica]:
    """
    Start one, where there are two cores on the first, and everything else on the others.

    Args:
        jobs: That wait.
        settings: Of the process, as environment variables.
    """
    cores = sorted(os.sched_getaffinity(0))
    own, others = {cores[0]}, set(cores[1:]) or {cores[0]}
    os.sched_setaffinity(0, others)
    try:
        with (
            TemporaryDirectory(prefix="imagemill-bench-") as folder,
            RedisServer(Path(folder) / "redis") as redis_server,
            S3Server(Path(folder) / "s3") as s3_server,
            redis.Redis.from_url(redis_server.url, decode_responses=True) as redis_client,
        ):
            paths = _prepare(redis_server, s3_server, redis_client, jobs)
            api = Api(0, {**os.environ, **addresses(redis_server, s3_server), **settings})
            os.sched_setaffinity(0, own)  # The child inherits it, with every thread that it will have.
            with api:
                os.sched_setaffinity(0, others)
                target = Target(host=LOOPBACK, port=api.port or 0, job_id=paths[2])
                yield Replica(target=target, redis=redis_client, finished=paths[0], queued=paths[1])
    finally:
        os.sched_setaffinity(0, set(cores))


def _prepare(
    redis_server: RedisServer, s3_server: S3Server, redis_client: redis.Redis, count: int
) -> tuple[str, str, str]:
    """The paths of a finished and of a queued job, and the id of a running one."""
    settings = load_settings(redis_url=redis_server.url, lease_s=_LEASE_S)
    client = Client(settings, storage_at(s3_server.endpoint))
    try:
        finished, running = (client.submit("a red circle").id for _ in range(2))
        table = JobTable(redis_client, settings)
        claims = {job_id: table.claim(job_id, owner="nobody")[0] for job_id in (finished, running)}
        if claim := claims[finished]:
            table.finish(claim, Status.SUCCEEDED, artifacts=[_IMAGE], timings={"total": 1.0})
        queued = client.submit_many({"prompt": "a red circle"} for _ in range(count))
    finally:
        client.close()
    return f"/v1/jobs/{finished}", f"/v1/jobs/{queued[-1].id}", running
