"""The reconciler looks for messages without reading a list of the broker whole."""

from __future__ import annotations

import pytest
import redis

from jobs import names
from jobs.broker.dispatch import Dispatcher
from jobs.broker.reconcile import Reconciled, Reconciler
from jobs.process.settings import Settings
from jobs.scripts.ranks import LINE
from jobs.table.inbox import list_of
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
    assert redis_client.info("commandstats")["cmdstat_lrange"]["calls"] - before == 2
