"""Event streams over HTTP: whole, resumable through any replica, and without polling."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import count

import httpx2 as httpx
import pytest
import redis
from fastapi import FastAPI

from jobs import names
from jobs.kinds.picture import Stage
from jobs.process.settings import Settings
from jobs.table.claim import Claim
from jobs.table.states import Status
from jobs.table.table import JobTable
from ops.process import wait_until
from ops.programs import Api
from producer import Client
from producer.api.jobs import events
from tests.integration.producer.api.conftest import DEADLINE_S, Replica, serving
from tests.integration.producer.api.sse import Told, listening

STEPS = 20
STREAMS = 20
CUTS = 3


def path_of(claim: Claim) -> str:
    return f"/v1/jobs/{claim.job_id}/events"


def go_on(table: JobTable, claim: Claim, steps: range) -> None:
    for step in steps:
        table.progress(claim, Stage.GENERATE, step, STEPS)


def ids(client: redis.Redis, job_id: str) -> list[str]:
    """Of all events of a job."""
    return [str(entry_id) for entry_id, _ in client.xrange(names.events_key(job_id)) or []]


def is_heard(client: redis.Redis, job_id: str, times: int = 1) -> bool:
    """Whether so many processes have subscribed to a job's news."""
    return bool(client.pubsub_numsub(names.news_channel(job_id))[0][1] == times)


def test_stream_tells_everything_in_order_up_to_the_end(
    replica: str, table: JobTable, redis_client: redis.Redis, claimed: Claim
) -> None:
    go_on(table, claimed, range(3))
    with listening(replica + path_of(claimed)) as told:
        first = [next(told) for _ in range(4)]
        go_on(table, claimed, range(3, STEPS + 1))
        table.finish(claimed, Status.FAILED, error={"code": "generation_error", "message": "it broke"})
        rest = list(told)
    assert [each.event for each in [*first, *rest]] == ["status", *["progress"] * (STEPS + 1), "completed"]
    assert first[0].data == {"job_id": claimed.job_id, "status": "processing"}
    assert [each.data["step"] for each in [*first, *rest] if each.event == "progress"] == list(range(STEPS + 1))
    assert 0 < first[1].data["progress"] < rest[-2].data["progress"] < 1
    last = rest[-1].data
    assert (last["status"], last["job"]["status"], last["job"]["error"]["code"]) == (
        "failed",
        "failed",
        "generation_error",
    )
    stored = ids(redis_client, claimed.job_id)
    assert [each.id for each in [*first, *rest]] == stored


def test_stream_that_is_cut_goes_on_through_another_replica(
    replicas: list[Replica], table: JobTable, redis_client: redis.Redis, claimed: Claim
) -> None:
    heard: list[Told] = []
    for step in range(STEPS):
        _, url = replicas[step % 2]
        with listening(url + path_of(claimed), heard[-1].id if heard else None) as told:
            go_on(table, claimed, range(step, step + 1))
            heard.append(next(told))
    go_on(table, claimed, range(STEPS, STEPS + 1))
    table.finish(claimed, Status.CANCELED)
    with listening(replicas[0][1] + path_of(claimed), heard[-1].id) as told:
        heard += told
    stored = ids(redis_client, claimed.job_id)
    assert [each.id for each in heard] == stored


@pytest.mark.long  # Starts five processes; replicas in this one are cut above.
def test_streams_that_are_cut_with_their_process_miss_nothing_and_repeat_nothing(
    processes: list[Api], table: JobTable, redis_client: redis.Redis, claimed: Claim
) -> None:
    """Two processes of the API. The one that is listened to is killed in the middle of the news, the other is asked."""
    heard: list[Told] = []
    is_over = threading.Event()

    def work() -> None:
        for step in count():
            table.progress(claimed, Stage.GENERATE, step, 10**6)
            if is_over.wait(0.01):  # The stream in Redis keeps about the last thousand events.
                break
        table.finish(claimed, Status.CANCELED)

    with ThreadPoolExecutor(2) as pool:
        worker, start = pool.submit(work), pool.submit(lambda: None)
        for cut in range(CUTS):
            process = processes[cut % 2]
            with suppress(httpx.HTTPError), listening(process.url + path_of(claimed), last_id(heard)) as told:
                heard += (next(told) for _ in range(10))
                while not start.done():  # The one that was killed before takes longer than the stream keeps.
                    heard.append(next(told))
                os.kill(process.pid or 0, (signal.SIGKILL, signal.SIGTERM)[cut % 2])
                heard += told  # What is on its way still comes, and the last of it may be half an event.
            assert heard[-1].event == "progress"
            start.result()
            start = pool.submit(start_again, process)
        start.result()
        is_over.set()
        worker.result(DEADLINE_S)
    with listening(processes[CUTS % 2].url + path_of(claimed), last_id(heard)) as told:
        heard += told
    numbers = [each.data["step"] for each in heard if each.event == "progress"]
    assert numbers == list(range(len(numbers)))
    assert [heard[0].event, heard[-1].event, len(heard) - len(numbers)] == ["status", "completed", 2]


def start_again(process: Api) -> None:
    assert wait_until(lambda: process.exit_code is not None, DEADLINE_S)
    process.start()
    process.wait_until_ready()


def last_id(heard: list[Told]) -> str | None:
    return heard[-1].id if heard else None


def test_replica_that_stops_cuts_its_streams_at_once(
    make_app: Callable[[], FastAPI], redis_client: redis.Redis, table: JobTable, claimed: Claim
) -> None:
    with serving(make_app()) as (server, url), listening(url + path_of(claimed)) as told:
        heard = [next(told)]
        server.should_exit = True
        assert list(told) == []  # Without "completed".
    go_on(table, claimed, range(2))
    table.finish(claimed, Status.CANCELED)
    with serving(make_app()) as (_, url), listening(url + path_of(claimed), heard[0].id) as told:
        assert [each.event for each in told] == ["progress", "progress", "completed"]


def test_lost_connection_to_redis_loses_no_event(
    replica: str, table: JobTable, redis_client: redis.Redis, claimed: Claim
) -> None:
    with listening(replica + path_of(claimed)) as told:
        heard = [next(told)]
        for step in range(STEPS):
            assert wait_until(lambda: is_heard(redis_client, claimed.job_id), DEADLINE_S)
            listener = [each["id"] for each in redis_client.client_list(_type="pubsub") if each["db"] == "1"]
            with redis_client.pipeline() as pipeline:  # At once: the event comes when nobody listens.
                for each in listener:
                    pipeline.client_kill_filter(_id=each)
                pipeline.execute()
            go_on(table, claimed, range(step, step + 1))
            if step == 2:
                break
        table.finish(claimed, Status.CANCELED)
        heard += told
    stored = ids(redis_client, claimed.job_id)
    assert [each.id for each in heard] == stored


def test_waiting_streams_ask_redis_for_nothing(
    replica: str, redis_client: redis.Redis, table: JobTable, claimed: Claim
) -> None:
    """While the reconciler goes by twice, Redis runs no command of the streams that wait, and has one connection."""
    with ExitStack() as stack:
        streams = [stack.enter_context(listening(replica + path_of(claimed))) for _ in range(STREAMS)]
        assert [next(told).event for told in streams] == ["status"] * STREAMS
        before = calls(redis_client)
        assert wait_until(lambda: calls(redis_client)["set"] >= before["set"] + 2, DEADLINE_S)
        after = calls(redis_client)
        # Of keys the process asks by itself, for all streams together (EXISTS), whenever its time has come.
        asking = ("xread", "xrange", "xrevrange", "hgetall", "hmget", "multi", "exec", "subscribe")
        assert {name: after.get(name) for name in asking} == {name: before.get(name) for name in asking}
        assert len([each for each in redis_client.client_list(_type="pubsub") if each["db"] == "1"]) == 1
        table.finish(claimed, Status.CANCELED)
        assert [[each.event for each in told] for told in streams] == [["completed"]] * STREAMS


def calls(client: redis.Redis) -> dict[str, int]:
    """How often each command has run."""
    return {name.removeprefix("cmdstat_"): each["calls"] for name, each in client.info("commandstats").items()}


def test_client_that_had_the_last_event_is_told_not_to_come_back(replica: str, table: JobTable, claimed: Claim) -> None:
    table.finish(claimed, Status.CANCELED)
    with listening(replica + path_of(claimed)) as told:
        last = list(told)[-1]
    answer = httpx.get(
        replica + path_of(claimed), headers={"Last-Event-ID": last.id}, trust_env=False, timeout=DEADLINE_S
    )
    assert (answer.status_code, answer.content) == (204, b"")


def test_client_that_leaves_is_no_bug_and_nobody_listens_for_it_any_more(
    process: Api, log: list[str], redis_client: redis.Redis, table: JobTable, claimed: Claim
) -> None:
    for step in range(20):
        with listening(process.url + path_of(claimed)) as told:
            next(told)
            go_on(table, claimed, range(step, step + 1))
    assert wait_until(lambda: is_heard(redis_client, claimed.job_id, times=0), DEADLINE_S)
    assert not [line for line in log if "error" in line]


def test_quiet_stream_is_kept_open_by_comments(
    replica: str, monkeypatch: pytest.MonkeyPatch, table: JobTable, client: Client
) -> None:
    monkeypatch.setattr(events, "_PING_S", 0.05)
    job = client.submit("a red circle")
    with httpx.stream("GET", f"{replica}/v1/jobs/{job.id}/events", timeout=DEADLINE_S, trust_env=False) as answer:
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(4)] == [": ping", "", ": ping", ""]
        table.cancel(job.id)
        assert "event: completed" in list(lines)


@pytest.mark.parametrize("wrong", ["yesterday", "1-2-3", "-1", "9" * 30])
def test_event_id_that_is_none_is_refused(replica: str, claimed: Claim, wrong: str) -> None:
    answer = httpx.get(
        replica + path_of(claimed), headers={"Last-Event-ID": wrong}, trust_env=False, timeout=DEADLINE_S
    )
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "Last-Event-ID")


def test_stream_of_no_job_is_not_found(replica: str, settings: Settings) -> None:
    for job_id in ("no-such-job", "..", "a b"):
        assert httpx.get(f"{replica}/v1/jobs/{job_id}/events", trust_env=False, timeout=DEADLINE_S).status_code == 404
