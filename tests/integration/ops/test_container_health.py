"""The health checks of containers say no when the heart, the API or the password is not what it should be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal

import pytest
import redis

from jobs.fleet.fleet import Fleet, WorkerReport
from jobs.process.settings import Settings
from ops.images import health


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[str]:
    """What the container of this test is called."""
    monkeypatch.setenv("IMAGEMILL_REDIS_URL", settings.redis_url)
    monkeypatch.setattr("socket.gethostname", lambda: "imagemill-worker-2")
    yield "imagemill-worker-2"


def report(client: redis.Redis, settings: Settings, name: str, state: Literal["starting", "ready", "draining"]) -> None:
    Fleet(client, settings).report(WorkerReport(name=name, state=state, started_at=time.time()))


def test_worker_is_healthy_while_its_heart_beats(name: str, redis_client: redis.Redis, settings: Settings) -> None:
    assert health.worker() == f"no worker {name} says that it is there"
    report(redis_client, settings, f"worker@{name}0-4f21ab", "ready")  # Another, whose name begins alike.
    assert health.worker() == f"no worker {name} says that it is there"
    report(redis_client, settings, f"worker@{name}-4f21ab", "starting")
    assert health.worker() == "it has not loaded its models yet"
    report(redis_client, settings, f"worker@{name}-4f21ab", "ready")
    assert health.worker() is None
    report(redis_client, settings, f"worker@{name}-4f21ab", "draining")
    assert health.worker() is None
    Fleet(redis_client, settings).leave(f"worker@{name}-4f21ab")
    assert health.worker() == f"no worker {name} says that it is there"


def test_worker_with_several_gpus_is_healthy_while_one_serves(
    name: str, redis_client: redis.Redis, settings: Settings
) -> None:
    small = WorkerReport(name=f"worker@{name}-gpu0-4f21ab", state="starting")
    Fleet(redis_client, settings).note_failure(small, "every model is too large")
    assert health.worker() == "every model is too large"
    report(redis_client, settings, f"worker@{name}-gpu1-1-9c03de", "ready")
    assert health.worker() is None


def test_worker_without_redis_is_not_healthy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_REDIS_URL", "redis://127.0.0.1:1/0")
    assert "does not answer" in (health.worker() or "")


def test_worker_that_failed_at_its_start_is_not_healthy_until_another_start_is(
    name: str, redis_client: redis.Redis, settings: Settings
) -> None:
    first = WorkerReport(name=f"worker@{name}-4f21ab", state="starting")
    Fleet(redis_client, settings).note_failure(first, "model shapes: there is no such folder")
    assert health.worker() == "model shapes: there is no such folder"
    report(redis_client, settings, f"worker@{name}-9c03de", "starting")
    assert health.worker() == "it has not loaded its models yet"
    report(redis_client, settings, f"worker@{name}-9c03de", "ready")
    assert health.worker() is None
