"""Following a job's events: in order, without repeats or gaps, up to its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread

import pytest
import redis

from jobs.errors import Fenced, RedisUnavailable
from jobs.kinds.picture import Stage
from jobs.names import events_key
from jobs.process.settings import Settings
from jobs.redis.connection import connect
from jobs.table.claim import MAX_DATA_BYTES, Claim, Report, event_data
from jobs.table.events import Event, follow
from jobs.table.states import Status
from jobs.table.table import JobTable
from ops.process import free_port, wait_until
from producer import Client

DEADLINE_S = 60.0
STEPS = 5


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def connection(request: pytest.FixtureRequest, settings: Settings) -> Iterator[redis.Redis]:
    with connect(settings.model_copy(update={"redis_url": f"{settings.redis_url}?protocol={request.param}"})) as client:
        yield client


def run_through(table: JobTable, claim: Claim) -> None:
    for step in range(STEPS + 1):
        table.progress(claim, Stage.GENERATE, step, STEPS)
    table.finish(claim, Status.SUCCEEDED)


def test_what_a_running_job_sends_comes_among_its_events_as_it_was_sent(
    connection: redis.Redis, settings: Settings, table: JobTable, claimed: Claim
) -> None:
    sent = {"text": "größer ☃ \n", "number": 2**60, "list": [], "none": None}
    assert table.send(claimed, sent) is None
    table.progress(claimed, Stage.GENERATE, 1, STEPS)
    table.finish(claimed, Status.SUCCEEDED)
    events = list(follow(connection, settings, claimed.job_id))
    assert [event.type for event in events] == ["status", "data", "progress", "completed"]
    assert events[1].data == {"data": sent}


def test_nothing_is_sent_under_a_token_that_is_not_the_jobs(
    redis_client: redis.Redis, table: JobTable, claimed: Claim
) -> None:
    before = redis_client.xlen(events_key(claimed.job_id))
    with pytest.raises(Fenced):
        table.send(dataclasses.replace(claimed, token="another"), {"a": 1})
    assert redis_client.xlen(events_key(claimed.job_id)) == before
    table.finish(claimed, Status.SUCCEEDED)
    with pytest.raises(Fenced):
        table.send(claimed, {"a": 1})


def test_last_steps_are_told_once_by_a_redis_that_does_not_know_how_jobs_end(
    connection: redis.Redis, settings: Settings, table: JobTable, claimed: Claim
) -> None:
    connection.script_flush()
    table.progress(claimed, Stage.GENERATE, 1, STEPS)
    reports = [Report(claim=claimed, stage=stage) for stage in (Stage.POSTPROCESS, Stage.UPLOAD)]
    table.finish(claimed, Status.SUCCEEDED, reports=reports)
    told = [event.data.get("stage") for event in follow(connection, settings, claimed.job_id)]
    assert told == [None, "generate", "postprocess", "upload", None]


def test_data_that_comes_twice_is_sent_once(redis_client: redis.Redis, table: JobTable, claimed: Claim) -> None:
    before = redis_client.xlen(events_key(claimed.job_id))
    reports = [Report(claim=claimed, data=event_data({"at": at})) for at in range(2)]
    for sent in (reports[:1], reports, reports):
        table.progress_many(sent)
    assert redis_client.xlen(events_key(claimed.job_id)) == before + 2


def test_a_job_that_is_to_end_hears_so_when_it_sends(table: JobTable, claimed: Claim) -> None:
    table.cancel(claimed.job_id)
    assert table.send(claimed, {"a": 1}) is Status.CANCELED


def test_an_event_of_data_is_bounded(table: JobTable, claimed: Claim) -> None:
    table.send(claimed, {"a": "x" * (MAX_DATA_BYTES - len('{"data":{"a":""}}'))})
    with pytest.raises(ValueError, match="data: an event has 4096 bytes at most, not 4097"):
        table.send(claimed, {"a": "x" * (MAX_DATA_BYTES - len('{"data":{"a":""}}') + 1)})


def is_waited_for(client: redis.Redis) -> bool:
    """Whether somebody blocks on our database; the session's worker blocks on another."""
    return any(each["db"] == "1" and "b" in each["flags"] for each in client.client_list())


def test_events_come_in_order_up_to_the_end(
    connection: redis.Redis, settings: Settings, table: JobTable, claimed: Claim
) -> None:
    run_through(table, claimed)
    events = list(follow(connection, settings, claimed.job_id))
    assert [event.type for event in events] == ["status", *["progress"] * (STEPS + 1), "completed"]
    assert events[0].data == {"status": "processing"}
    assert [event.data["step"] for event in events[1:-1]] == list(range(STEPS + 1))
    assert events[1].data == {"stage": "generate", "step": 0, "steps": STEPS}
    assert events[-1].data == {"status": "succeeded"}


def test_following_goes_on_behind_any_event_without_repeats_or_gaps(
    connection: redis.Redis, settings: Settings, table: JobTable, claimed: Claim
) -> None:
    run_through(table, claimed)
    events = list(follow(connection, settings, claimed.job_id))
    for index, event in enumerate(events[:-1]):
        assert list(follow(connection, settings, claimed.job_id, after=event.id)) == events[index + 1 :]


def test_follower_sees_what_happens_while_it_waits(
    connection: redis.Redis, settings: Settings, table: JobTable, redis_client: redis.Redis, claimed: Claim
) -> None:
    with ThreadPoolExecutor(1) as pool:
        followed: Future[list[Event]] = pool.submit(
            lambda: list(follow(connection, settings, claimed.job_id, timeout_s=DEADLINE_S))
        )
        for step in range(3):
            assert wait_until(lambda: is_waited_for(redis_client), DEADLINE_S)
            table.progress(claimed, Stage.GENERATE, step, 3)
        table.finish(claimed, Status.FAILED)
        events = followed.result(DEADLINE_S)
    assert len(events) == redis_client.xlen(events_key(claimed.job_id)) == 5
    assert [event.data["step"] for event in events[1:-1]] == [0, 1, 2]
    assert events[-1].data == {"status": "failed"}


def test_following_ends_when_its_time_is_over(connection: redis.Redis, settings: Settings, claimed: Claim) -> None:
    events = list(follow(connection, settings, claimed.job_id, timeout_s=0.1))
    assert [event.type for event in events] == ["status"]


def test_following_a_job_that_waits_gives_nothing_yet(
    connection: redis.Redis, settings: Settings, client: Client
) -> None:
    assert list(follow(connection, settings, client.submit("a red circle").id, timeout_s=0.1)) == []


def test_following_behind_the_end_ends(
    client: Client, table: JobTable, redis_client: redis.Redis, claimed: Claim
) -> None:
    """A reader that comes back with the last id it saw, as a browser does after a broken connection."""
    run_through(table, claimed)
    *_, last = client.events(claimed.job_id)
    reader = Thread(target=lambda: list(client.events(claimed.job_id, after=last.id)), daemon=True)
    reader.start()
    reader.join(timeout=DEADLINE_S)
    has_ended = not reader.is_alive()
    redis_client.xadd(events_key(claimed.job_id), {"type": "completed", "data": "{}"})  # Lets it go in any case.
    reader.join(timeout=DEADLINE_S)
    assert has_ended


def test_redis_that_is_away_is_an_error_of_ours() -> None:
    nowhere = Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(RedisUnavailable):
        next(follow(connect(nowhere), nowhere, "a-job"))
