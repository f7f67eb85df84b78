"""
How fast one client process submits, and what a waiting job takes of Redis' memory.

Bulk against one `apply_async` call for each job: the same prompts, the same server, in turns within one run. Nobody
runs the jobs: what is measured is their way in.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import redis
from celery import Celery
from rich.console import Console

from jobs import names
from jobs.process.settings import load_settings
from ops.bench.report.plot import Bars, plot
from ops.bench.report.report import Figure, Report, publish
from ops.bench.report.rounds import alternate, median_ratio
from ops.bench.report.surroundings import look_around
from ops.servers import RedisServer
from ops.stack import storage_at
from producer import Client

BULK, SINGLE = "submit_many", "apply_async, one by one"
PROMPT_CHARS = 200

_LEAST_RATIO = 2.0
_MOST_BYTES = 3 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """
    One way, once.

    Attributes:
        bytes: What a job took of Redis' memory, in all and by what it is for; the message is that of a released job.
    """

    jobs_per_s: float
    bytes: dict[str, float]


def bench_submission(*, jobs: int, rounds: int, folder: Path, console: Console) -> Report:
    """Measure, print, and write `submit.json` and `submit.png`."""
    surroundings = look_around(jobs=jobs, prompt_chars=PROMPT_CHARS, release_window=load_settings().release_window)
    with _server() as client, _connected(client) as redis_client:
        ways: dict[str, Callable[[int], Round]] = {
            BULK: lambda number: _bulk(client, redis_client, jobs, number),
            SINGLE: lambda number: _single(client, redis_client, jobs, number),
        }
        results = alternate(ways, rounds, console)
    report = Report(
        name="submit",
        title=f"submit: {jobs} jobs from one process, medians of {rounds} rounds",
        figures=_figures(results),
        surroundings=surroundings,
        rounds={name: [dataclasses.asdict(each) for each in found] for name, found in results.items()},
    )
    rates = {name: [each.jobs_per_s for each in found] for name, found in results.items()}
    sizes = {name: [each.bytes[name] for each in results[BULK]] for name in results[BULK][0].bytes}
    panels = [
        Bars(title="one process submits", unit="jobs/s", rounds=rates),
        Bars(title="of Redis' memory, for each waiting job", unit="bytes", rounds=sizes),
    ]
    plot(panels, folder / "submit.png")
    publish(report, folder, console)
    return report


def _figures(results: dict[str, list[Round]]) -> list[Figure]:
    rates = {name: [each.jobs_per_s for each in found] for name, found in results.items()}
    sizes = {name: statistics.median(each.bytes[name] for each in results[BULK]) for name in results[BULK][0].bytes}
    ratio = median_ratio(rates[BULK], rates[SINGLE])
    whole, *parts = sizes.items()
    return [
        Figure(what=f"{BULK} ÷ {SINGLE}", value=ratio, unit="×", target=_LEAST_RATIO),
        *(Figure(what=name, value=statistics.median(found), unit="jobs/s") for name, found in rates.items()),
        Figure(what=f"memory of a waiting job, {whole[0]}", value=whole[1], unit="B", target=_MOST_BYTES, at_most=True),
        *(Figure(what=f"… {name}", value=size, unit="B") for name, size in parts),
    ]


def _bulk(client: Client, redis_client: redis.Redis, count: int, number: int) -> Round:
    with _emptied(redis_client):
        before = _used_bytes(redis_client)
        started = time.perf_counter()
        jobs = client.submit_many({"prompt": prompt} for prompt in _prompts(count, number))
        took_s = time.perf_counter() - started
        in_all = (_used_bytes(redis_client) - before) / count
        return Round(jobs_per_s=count / took_s, bytes={"in all": in_all, **_parts(redis_client, jobs[-1].id)})


def _single(client: Client, redis_client: redis.Redis, count: int, number: int) -> Round:
    """As a service would that has Celery and nothing of ours."""
    queue = names.queue_of(next(iter(client.parts.catalogue.models)))
    with _emptied(redis_client), Celery(broker=client.parts.settings.redis_url, set_as_current=False) as app:
        task: Any = app.task(name=names.GENERATE_TASK, ignore_result=True, shared=False)(_nothing)
        before = _used_bytes(redis_client)
        started = time.perf_counter()
        for prompt in _prompts(count, number):
            task.apply_async(kwargs={"prompt": prompt}, queue=queue)
        took_s = time.perf_counter() - started
        return Round(jobs_per_s=count / took_s, bytes={"in all": (_used_bytes(redis_client) - before) / count})


def _nothing(prompt: str) -> None:
    """Its messages are counted, not run."""


def _prompts(count: int, number: int) -> Iterator[str]:
    for index in range(count):
        yield f"round {number}, job {index}: a large red circle on a blue background ".ljust(PROMPT_CHARS, "x")


def _parts(client: redis.Redis, job_id: str) -> dict[str, float]:
    """Where a job's bytes are: by what Redis says of its own keys."""
    queue = str(client.hget(names.job_key(job_id), "queue"))
    lists = [names.JOBS, *client.scan_iter(names.jobs_key("*"), count=10_000)]
    lists += list(client.scan_iter(names.waiting_key(queue, "*"), count=10_000))
    messages = [key for key in client.scan_iter(f"{names.line_of(queue)}*", count=10_000) if client.type(key) == "list"]
    return {
        "record": _bytes_of(client, [names.job_key(job_id)]),
        "lists and turn": sum(_bytes_of(client, [key]) / int(client.zcard(key)) for key in lists),
        "message": _bytes_of(client, messages) / sum(int(client.llen(key)) for key in messages),
    }


def _bytes_of(client: redis.Redis, keys: Sequence[str]) -> float:
    return float(sum(cast("int", client.memory_usage(key, samples=0)) for key in keys))


def _used_bytes(client: redis.Redis) -> int:
    memory: dict[str, Any] = client.info("memory")
    return int(memory["used_memory"])


@contextmanager
def _server() -> Iterator[Client]:
    """A client of a Redis of its own."""
    with TemporaryDirectory(prefix="imagemill-bench-") as folder, RedisServer(Path(folder)) as server:
        client = Client(load_settings(redis_url=server.url), storage_at("http://127.0.0.1:1"))
        try:
            yield client
        finally:
            client.close()


@contextmanager
def _connected(client: Client) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(client.parts.settings.redis_url, decode_responses=True) as redis_client:
        yield redis_client


@contextmanager
def _emptied(client: redis.Redis) -> Iterator[None]:
    # Valkey frees memory behind the answer otherwise, while it is measured; `flushdb` has no word for it.
    client.execute_command("FLUSHDB", "SYNC")  # type: ignore[no-untyped-call]
    yield
