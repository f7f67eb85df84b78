"""Processes of a worker that failed, as its parent has them listed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from jobs import names
from jobs.fleet.fleet import Fleet, WorkerReport, troubles_of
from jobs.process.settings import Settings
from ops.doctor.workers import judge_each
from ops.process import wait_until
from workers.process.parent.ended import EndedProcesses
from workers.process.parent.supervise import EX_CONFIG, Command

DEADLINE_S = 60.0
FIRST, SECOND = (WorkerReport(name=f"worker@a-gpu{n}-1", state="starting", models=("sim",)) for n in range(2))


def command(report: WorkerReport) -> Command:
    return Command(name=report.name, argv=())


@pytest.fixture
def fleet(redis_client: redis.Redis, settings: Settings) -> Fleet:
    return Fleet(redis_client, settings)


@pytest.fixture
def vanish(redis_client: redis.Redis) -> Callable[[WorkerReport], None]:
    """What is listed of a worker expires."""

    def delete(report: WorkerReport) -> None:
        redis_client.delete(names.worker_key(report.name))

    return delete


def test_process_that_will_not_start_is_listed_for_as_long_as_its_parent_lives(
    fleet: Fleet, settings: Settings, vanish: Callable[[WorkerReport], None]
) -> None:
    with EndedProcesses(settings, [FIRST, SECOND], every_s=0.01) as ended:
        fleet.note_failure(FIRST, "model sim needs a larger device")
        ended.note(command(FIRST), EX_CONFIG)
        for _ in range(2):
            assert wait_until(lambda: [each.state for each in fleet.workers()] == ["failed"], DEADLINE_S)
            (failed,) = fleet.workers()
            assert failed.failure in (
                "model sim needs a larger device",
                "its process ended with exit code 78; its log says why",
            )
            vanish(FIRST)
        ended.forget()
    assert fleet.workers() == []


def test_why_is_what_the_process_said_itself(fleet: Fleet, settings: Settings, redis_client: redis.Redis) -> None:
    key = names.worker_key(FIRST.name)
    with EndedProcesses(settings, [FIRST], every_s=0.01) as ended:
        fleet.note_failure(FIRST, "model sim needs a larger device")
        ended.note(command(FIRST), EX_CONFIG)
        redis_client.expire(key, 20)
        assert wait_until(lambda: int(redis_client.ttl(key)) > 20, DEADLINE_S)
        redis_client.delete(key)
        assert wait_until(lambda: bool(fleet.workers()), DEADLINE_S)
        (finding,) = judge_each(fleet.workers())
        assert "model sim needs a larger device" in finding.found
        assert "restart the worker" in finding.advice


def test_failure_of_long_ago_is_shown_of_who_has_not_started_since() -> None:
    long_ago = {"failure": "model sim needs a larger device", "failed_at": 1.0}
    (trouble,) = troubles_of(WorkerReport(name="a", state="failed", **long_ago))  # type: ignore[arg-type]
    assert trouble.endswith("model sim needs a larger device")
    assert troubles_of(WorkerReport(name="a", state="ready", **long_ago)) == []  # type: ignore[arg-type]


def test_process_that_crashed_speaks_for_itself_when_it_has_started_again(fleet: Fleet, settings: Settings) -> None:
    with EndedProcesses(settings, [FIRST, SECOND], every_s=0.01) as ended:
        ended.note(command(FIRST), -9)
        (failed,) = fleet.workers()
        assert failed.failure == "its process was ended by SIGKILL"
        ended.note(command(SECOND), EX_CONFIG)
        fleet.report(FIRST)
        ended.forget()
    assert fleet.workers() == [FIRST]
