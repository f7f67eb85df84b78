"""The reconciler looks for messages without reading a list of the broker whole."""

from __future__ import annotations

import pytest
import redis

from jobs import names
from jobs.broker.dispatch import Dispatcher
from jobs.broker.reconcile import Reconciled, Reconciler
from jobs.fleet.lists import list_of
from jobs.process.settings import Settings
from jobs.scripts.limits import times_of
from jobs.scripts.ranks import LINE
from jobs.table.table import JobTable
from tests.integration.jobs.steps import QUEUE, MakeJob, claim, let_look_be_due, messages, submit

READ = 6  # messages of a list


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.broker.reconcile._PIECE", READ // 2)
    monkeypatch.setattr("jobs.broker.reconcile._MOST_PIECES", 2)
    monkeypatch.setattr("jobs.broker.reconcile._OVERLAP", 1)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"release_window": 12})


@pytest.fixture
def line() -> str:
    return list_of(names.line_of(QUEUE), LINE)


@pytest.fixture
def sent(table: JobTable, dispatcher: Dispatcher, a_job: MakeJob) -> list[str]:
    ids = submit(table, *(a_job() for _ in range(12)))
    dispatcher.send(ids)
    return ids


def lose(client: redis.Redis, line: str, job_id: str) -> None:
    """Its message gets lost."""
    (message,) = [each for each in map(str, client.lrange(line, 0, -1)) if job_id in each]
    client.lrem(line, 1, message)


def test_messages_that_are_there_are_not_sent_again_however_long_the_list(
    sent: list[str], redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    let_look_be_due(redis_client, *sent)
    assert reconciler.run_once() == Reconciled()
    assert messages(redis_client) == sent


def test_lost_message_is_missed_when_its_place_is_near(
    sent: list[str], line: str, redis_client: redis.Redis, reconciler: Reconciler, table: JobTable
) -> None:
    near, far = sent[1], sent[9]
    for each in (near, far):
        lose(redis_client, line, each)
    let_look_be_due(redis_client, *sent)
    assert reconciler.run_once() == Reconciled(resent=1)
    assert far not in messages(redis_client)
    for each in sent[:6]:
        claim(table, each)
    redis_client.ltrim(line, 0, -6)  # Those five have taken their messages.
    let_look_be_due(redis_client, *sent)
    assert (reconciler.run_once() or Reconciled()).resent >= 1
    assert far in messages(redis_client)


def test_pass_reads_no_more_of_a_long_list(
    sent: list[str], line: str, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    redis_client.lpush(line, *("no message" for _ in range(5_000)))
    lose(redis_client, line, sent[0])
    let_look_be_due(redis_client, sent[0])
    before = redis_client.info("commandstats")["cmdstat_lrange"]["calls"]
    assert reconciler.run_once() == Reconciled(resent=1)
    assert redis_client.info("commandstats")["cmdstat_lrange"]["calls"] - before == 2 + 1  # for messages that are stale


def look_in_s(client: redis.Redis, job_id: str) -> float:
    """Until its message is looked for."""
    seconds, microseconds = client.time()
    return (client.zscore(names.released_key(QUEUE), job_id) or 0.0) - seconds - microseconds / 1e6


def test_message_behind_more_stale_ones_than_are_read_is_sent_again_ever_more_seldom(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler, dispatcher: Dispatcher
) -> None:
    """Those of jobs that were canceled while there was no worker."""
    for _ in range(3 * READ):
        dispatcher.send(submit(table, a_job()))
        table.cancel(messages(redis_client)[-1])
    (job_id,) = submit(table, a_job())
    dispatcher.send([job_id])
    looks_s = []
    for _ in range(4):
        let_look_be_due(redis_client, job_id)
        assert reconciler.run_once() == Reconciled(resent=1)
        looks_s.append(look_in_s(redis_client, job_id))
    again_s = times_of(8.0).look_again_s
    assert looks_s == [pytest.approx(again_s * 2**number, rel=0.2) for number in (1, 2, 3, 4)]


def test_message_that_is_certainly_lost_is_looked_for_as_soon_as_ever(
    table: JobTable, a_job: MakeJob, redis_client: redis.Redis, reconciler: Reconciler
) -> None:
    (job_id,) = submit(table, a_job())
    for _ in range(3):
        redis_client.delete(list_of(names.line_of(QUEUE), LINE))
        let_look_be_due(redis_client, job_id)
        assert reconciler.run_once() == Reconciled(resent=1)
        assert look_in_s(redis_client, job_id) == pytest.approx(times_of(8.0).look_again_s, rel=0.2)


@pytest.mark.parametrize("garbage", [b"\xff\xfe", b"[" * 100_000], ids=["no text", "nested"])
def test_whatever_others_put_into_the_list_hides_no_lost_message(
    table: JobTable, a_job: MakeJob, line: str, redis_client: redis.Redis, reconciler: Reconciler, garbage: bytes
) -> None:
    (job_id,) = submit(table, a_job())
    redis_client.lpush(line, garbage)
    let_look_be_due(redis_client, job_id)
    assert reconciler.run_once() == Reconciled(resent=1)
