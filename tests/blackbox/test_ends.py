"""
Whatever brings a job to its end, its sender with Celery alone hears of it, in every way in which one can wait there.

One table of ways, and one check that holds for all of them (`outside.Fan`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox import ways
from tests.blackbox.conftest import MakeSystem
from tests.blackbox.outside import Fan, generate, wait_for
from tests.blackbox.stage import MODELS, SOME, Stage, kill
from tests.blackbox.system import System, simulated, until
from tests.hole import BlackHole

Way = Callable[[Stage], str]

ENV = {"IMAGEMILL_LEASE_S": "4"}
ONE_ATTEMPT = {"IMAGEMILL_MAX_ATTEMPTS": "1"}

# Those in which workers start, and stop, or start late.
WAYS: list[Way] = [
    *(ways.worker_killed, ways.worker_drained, ways.last_worker_drained_for_good),
    *(ways.adopted_by_one_worker_and_run_by_another, ways.adopted_by_a_worker_that_is_killed),
    *(ways.delivered_twice, ways.delivered_again_after_the_end, ways.routed_by_an_exchange_of_the_sender_s),
    ways.revoked_before_a_worker_has_seen_it,
    ways.canceled_as_its_worker_dies,
    ways.canceled_over_http_before_a_worker_has_seen_it,
    ways.canceled_by_command_before_a_worker_has_seen_it,
    *(ways.purged_before_a_worker_has_seen_it, ways.expired_before_a_worker_has_seen_it),
    *(ways.lost_with_its_worker_every_time, ways.refused_and_sent_again),
]
# Those in which one worker goes on: they share it.
CALM_WAYS: list[Way] = [
    *(ways.runs, ways.paused_and_resumed, ways.sent_with_the_last_priority, ways.sent_compressed),
    *(ways.revoked_while_it_waits, ways.revoked_while_it_waits_for_its_time, ways.revoked_while_it_runs),
    *(ways.canceled_over_http_while_it_waits, ways.canceled_over_http_while_it_runs),
    *(ways.canceled_by_command_while_it_waits, ways.canceled_by_command_while_it_runs),
    *(ways.purged, ways.expired_while_it_waits),
    *(ways.deadline_passed_while_it_waits, ways.deadline_passed_while_it_runs, ways.time_limit_passed),
    *(ways.refused, ways.sent_to_a_model_that_there_is_not),
]
STATUSES = {"SUCCESS": {"succeeded"}, "FAILURE": {"failed"}, "REVOKED": {"canceled", "expired"}}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[Stage]:
    """A worker and an API process that no way ends."""
    with System(tmp_path_factory.mktemp("calm"), cache_dir, MODELS, ENV) as system:
        system.serve()
        yield Stage(system, Stage(system).worker())


def check(stage: Stage, way: Way) -> None:
    state = way(stage)
    stage.fan.check(stage.client, state)
    assert set(stage.statuses()) <= STATUSES[state]


@pytest.mark.parametrize("way", CALM_WAYS, ids=lambda way: way.__name__)
def test_sender_hears_from_a_worker_that_goes_on_of_the_end_of_what_is(calm: Stage, way: Way) -> None:
    try:
        check(calm, way)
    finally:
        calm.tidy()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_sender_hears_of_the_end_of_what_is(make_system: MakeSystem, way: Way) -> None:
    env = ENV | (ONE_ATTEMPT if way is ways.lost_with_its_worker_every_time else {})
    check(Stage(make_system(MODELS, env)), way)


def test_sender_hears_how_a_job_ends_that_was_dead(make_system: MakeSystem) -> None:
    """All but of a chord: Celery has told its body of the failure, and forgotten it."""
    stage = Stage(make_system(MODELS, ENV | ONE_ATTEMPT))
    stage.system.serve()
    worker = stage.worker()
    stage.send(SOME)
    stage.running()
    kill(worker)
    stage.fan.check(stage.client, "FAILURE")
    for job_id in stage.fan.ids:
        stage.cli("dead", "replay", job_id)
    stage.worker()
    stage.fan.check(stage.client, "SUCCESS", before="FAILURE")


def test_sender_hears_how_a_job_ends_that_was_canceled_and_is_replayed(make_system: MakeSystem) -> None:
    """Both ends, one after the other: who has heard of the first one asks again, and a chord is over."""
    stage = Stage(make_system(MODELS, ENV))
    ways.purged(stage)
    stage.fan.check(stage.client, "REVOKED")
    for job_id in stage.fan.ids:
        stage.cli("dead", "replay", job_id)
    stage.resume()
    stage.fan.check(stage.client, "SUCCESS", before="REVOKED")


def test_sender_finds_results_where_the_operator_has_them_kept(make_system: MakeSystem) -> None:
    system = make_system(MODELS, ENV)
    elsewhere = f"{system.redis_server.url.removesuffix('/0')}/3"
    system.worker("--model", "sim", env={"IMAGEMILL_RESULT_BACKEND_URL": elsewhere})
    app = system.celery()
    app.conf.update(result_backend=elsewhere)
    fan = Fan.send(app)
    fan.check(system.redis(), "SUCCESS")


def test_backend_of_results_that_swallows_all_costs_no_job(make_system: MakeSystem) -> None:
    """Nor does it hold up those whose messages come afterwards, or who ask elsewhere."""
    system = make_system(MODELS, ENV)
    client, app = system.redis(), system.celery()

    def found(*names: str) -> list[Any]:
        return [client.hmget(f"imagemill:job:{each}", *names) for each in jobs]

    with BlackHole() as hole:
        system.worker("--model", "sim", env={"IMAGEMILL_RESULT_BACKEND_URL": hole.url})
        first = [generate(app).apply_async(task_id=each) for each in ("my picture", "first", "second")]
        until("its worker tells of them", hole.has_caught)
        jobs = [str(each.id) for each in (*first[1:], generate(app).apply_async())]
        until("all have ended", lambda: all(ended for (ended,) in found("ended_at")))
        assert found("status", "deliveries", "attempts") == [["succeeded", "1", "1"]] * 3


def test_every_sender_hears_while_one_of_three_workers_is_stopped(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    results = {"IMAGEMILL_RESULT_BACKEND_URL": system.redis_server.url}
    workers = [system.worker(env={**results, "IMAGEMILL_WORKER_GRACE_S": "1"}) for _ in range(3)]
    app = system.celery()
    sent = [generate(app, {"num_inference_steps": 20}).apply_async() for _ in range(60)]
    until("all work", lambda: all(each.printed("job ended") for each in workers))
    os.kill(workers[0].pid or 0, signal.SIGTERM)
    assert workers[0].wait_for_exit() == 0
    for each in sent:
        wait_for(each, "SUCCESS")
