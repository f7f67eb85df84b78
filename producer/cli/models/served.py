"""Which workers serve a model, as far as Redis can be asked: what the catalogue says is shown without it, too."""

from __future__ import annotations

from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.errors import RedisUnavailable
from jobs.fleet.fleet import WorkerReport
from jobs.names import queue_of
from producer.cli.output.reporting import warn
from producer.client.parts import Parts


def living_workers(parts: Parts) -> list[WorkerReport] | None:
    """All that say they live; None, with a warning, where Redis cannot be asked. It is tried once."""
    parts.redis.set_retry(Retry(NoBackoff(), 0))
    try:
        return parts.fleet.workers()
    except RedisUnavailable as exc:
        warn(f"who serves the models is not known: {exc}")
        return None


def serving(name: str, workers: list[WorkerReport] | None) -> list[str] | None:
    """The names of those that serve a model; None where nobody knows."""
    if workers is None:
        return None
    return [each.name for each in workers if each.serves(queue_of(name))]


def say_serving(names: list[str] | None) -> str:
    """The same for a person."""
    if names is None:
        return "not known"
    return ", ".join(names) or "no worker"
