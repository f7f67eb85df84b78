"""The operator's commands for notifications that could not be sent, and the doctor's line about them."""

from __future__ import annotations

import time
from typing import cast

import pytest
import redis

from jobs import names
from jobs.announce.announcer import PROTOCOLS
from jobs.process.settings import Settings
from jobs.table.outbox import Outbox
from jobs.table.table import JobTable
from ops.doctor.notifications import check_notifications
from producer import Client
from tests.integration.producer.commands import Run, lines

PROTOCOL = PROTOCOLS[0]


@pytest.fixture
def given_up(client: Client, table: JobTable, redis_client: redis.Redis, settings: Settings) -> list[str]:
    """Jobs whose notifications were given up."""
    ids = [each.id for each in client.submit_many({"prompt": "a red circle"} for _ in range(2))]
    for job_id in ids:
        redis_client.hset(names.job_key(job_id), mapping={"tell": PROTOCOL, f"tell:{PROTOCOL}": "{}"})
        table.cancel(job_id)
    outbox = Outbox(redis_client, settings, PROTOCOL)
    for each in outbox.take(10):
        outbox.give_up(each)
    return ids


def waiting(client: redis.Redis) -> set[str]:
    return set(cast("list[str]", client.zrange(names.outbox_key(PROTOCOL), 0, -1)))


def test_those_that_were_given_up_are_listed(run: Run, given_up: list[str]) -> None:
    shown = lines(run("notifications", "list", "--json"))
    assert {each["id"] for each in shown} == set(given_up)
    assert {(each["protocol"], each["status"], each["queue"]) for each in shown} == {
        (PROTOCOL, "canceled", "gpu.shapes-flow")
    }
    assert all(time.time() - each["given_up_at"] < 600 for each in shown)
    assert PROTOCOL in run("notifications", "list").stdout


def test_nothing_is_listed_where_none_was(run: Run) -> None:
    assert lines(run("notifications", "list", "--json")) == []


def test_one_is_sent_again_and_then_all(run: Run, given_up: list[str], redis_client: redis.Redis) -> None:
    first, second = given_up
    assert lines(run("notifications", "retry", first, "--json")) == [{"retried": [first]}]
    assert waiting(redis_client) == {first}
    assert "1 notification will be sent again" in run("notifications", "retry", "--all").stdout
    assert waiting(redis_client) == {first, second}
    assert "0 notifications" in run("notifications", "retry", "--all").stdout


def test_job_without_such_an_end_is_bad_input(run: Run, given_up: list[str], redis_client: redis.Redis) -> None:
    result = run("notifications", "retry", "no-such-job", given_up[0])
    assert result.exit_code == 2
    assert "no-such-job has no pending notification" in result.stderr
    assert waiting(redis_client) == {given_up[0]}


@pytest.mark.parametrize("args", [[], ["a-job", "--all"]])
def test_jobs_or_all_are_to_be_named(run: Run, args: list[str]) -> None:
    result = run("notifications", "retry", *args)
    assert result.exit_code == 2
    assert "give job ids, or --all" in result.stderr


def test_doctor_reports_them_until_they_are_sent(run: Run, given_up: list[str], redis_client: redis.Redis) -> None:
    (finding,) = check_notifications()
    assert (finding.check, finding.state) == (f"notifications by {PROTOCOL}", "warning")
    assert "2 given up" in finding.found
    assert "./imagemill notifications retry --all" in finding.advice
    run("notifications", "retry", "--all")
    assert check_notifications()[0].state == "ok"
    redis_client.zadd(names.outbox_key(PROTOCOL), dict.fromkeys(given_up, time.time() - 1000))
    (finding,) = check_notifications()
    assert finding.state == "failure"
    assert "are not sent" in finding.found
