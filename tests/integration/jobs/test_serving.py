"""Whether somebody serves what is submitted, as far as workers say so."""

from __future__ import annotations

from typing import Literal

import pytest
import redis

from jobs.errors import ErrorCode
from jobs.fleet.fleet import Fleet, WorkerReport, WorkerState
from jobs.fleet.serving import Serving
from jobs.process.settings import Settings
from ops.process import free_port

QUEUE = "gpu.shapes-flow"

Policy = Literal["allow", "warn", "refuse"]


def serving(client: redis.Redis, settings: Settings, policy: Policy) -> Serving:
    settings = settings.model_copy(update={"unserved_models": policy})
    return Serving(Fleet(client, settings), settings)


@pytest.mark.parametrize(("policy", "warns", "refuses"), [("allow", 0, 0), ("warn", 1, 0), ("refuse", 0, 1)])
def test_operator_says_what_becomes_of_a_job_that_nobody_would_run(
    redis_client: redis.Redis, settings: Settings, policy: Policy, warns: bool, refuses: bool
) -> None:
    asked = serving(redis_client, settings, policy)
    assert (asked.warning(QUEUE) is not None, asked.refusal(QUEUE) is not None) == (warns, refuses)


def test_sentence_names_the_model_or_the_kind(redis_client: redis.Redis, settings: Settings) -> None:
    assert serving(redis_client, settings, "warn").warning(QUEUE) == (
        "no worker serves model 'shapes-flow' at the moment: the job waits until one does"
    )
    refusal = serving(redis_client, settings, "refuse").refusal("any.count")
    assert refusal is not None
    assert (refusal.field, refusal.code) == ("kind", ErrorCode.MODEL_NOT_AVAILABLE)
    assert str(refusal).startswith("no worker serves kind 'count' now: nothing was queued")


@pytest.mark.parametrize(
    ("state", "detached", "is_served"),
    [
        ("starting", (), True),
        ("ready", (), True),
        ("busy", (), True),
        ("draining", (), False),
        ("failed", (), False),
        ("detached", (QUEUE,), False),
        ("ready", (QUEUE,), False),
    ],
)
def test_worker_counts_that_takes_such_jobs_or_is_about_to(
    redis_client: redis.Redis, settings: Settings, state: WorkerState, detached: tuple[str, ...], is_served: bool
) -> None:
    report = WorkerReport(name="worker@a", state=state, models=("shapes-flow",), detached=detached)
    Fleet(redis_client, settings).report(report)
    assert (serving(redis_client, settings, "warn").warning(QUEUE) is None) is is_served
    assert serving(redis_client, settings, "warn").warning("gpu.other") is not None


def test_redis_is_asked_once_in_a_while(redis_client: redis.Redis, settings: Settings) -> None:
    asked = serving(redis_client, settings, "refuse")
    assert asked.refusal(QUEUE) is not None
    before = int(redis_client.info("commandstats")["cmdstat_smembers"]["calls"])
    for _ in range(50):
        asked.refusal(QUEUE)
    assert int(redis_client.info("commandstats")["cmdstat_smembers"]["calls"]) - before < 50


def test_redis_that_is_away_is_no_reason_to_say_anything(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"})
    with redis.Redis.from_url(away.redis_url) as client:
        assert serving(client, away, "refuse").refusal(QUEUE) is None
