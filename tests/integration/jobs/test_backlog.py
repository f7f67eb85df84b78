"""Messages in Celery's lists, and who takes them: on a real Redis."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from jobs.fleet.backlog import ListBacklog, backlog_in, find_backlog, nobody_takes
from jobs.fleet.fleet import WorkerReport
from jobs.fleet.lists import list_of
from jobs.process.settings import Settings

QUEUE, LINE = "gpu.shapes-flow", "run.shapes-flow"


def worker(state: str = "ready", **told: Any) -> WorkerReport:
    return WorkerReport(name="worker@a", state=state, models=("shapes-flow",), **told)


def backlog(queue: str, priority: int | None = 0) -> ListBacklog:
    return ListBacklog(queue=queue, priority=priority, key=list_of(queue, priority or 0), messages=1)


def taken(each: ListBacklog, *workers: WorkerReport) -> bool:
    return nobody_takes([each], workers) == []


@pytest.mark.parametrize("priority", range(10))
def test_worker_takes_others_messages_of_every_priority_and_its_line_s_of_three(priority: int) -> None:
    assert taken(backlog(QUEUE, priority), worker("busy"))
    assert taken(backlog(LINE, priority), worker("busy")) is (priority in (0, 3, 6))
    before = worker(reads_lines=False)
    assert taken(backlog(QUEUE, priority), before) is (priority in (0, 3, 6))
    assert not taken(backlog(LINE, priority), before)


@pytest.mark.parametrize("queue", ["gpu.nope", "run.nope", "any.shapes-flow", "runs.shapes-flow"])
def test_queue_that_nobody_serves_is_seen(queue: str) -> None:
    assert not taken(backlog(queue), worker())


@pytest.mark.parametrize(
    ("each", "takes_line", "takes_queue"),
    [
        (worker("starting"), False, False),
        (worker("draining"), False, False),
        (worker("failed"), False, False),
        (worker("detached", detached=(QUEUE,)), False, True),
        (worker("ready", detached=(QUEUE,)), False, True),
        (worker("ready", adopts=False), True, False),
        (worker("busy"), True, True),
    ],
    ids=lambda each: getattr(each, "state", None),
)
def test_worker_takes_what_it_says_that_it_does(each: WorkerReport, takes_line: bool, takes_queue: bool) -> None:
    assert taken(backlog(LINE), each) is takes_line
    assert taken(backlog(QUEUE), each) is takes_queue


def test_list_of_no_form_of_kombu_s_is_taken_by_nobody() -> None:
    assert not taken(backlog(QUEUE, None), worker())


def test_known_lists_are_counted_without_looking_for_others(redis_client: redis.Redis, settings: Settings) -> None:
    for key in (QUEUE, list_of(QUEUE, 9), list_of(LINE, 3), list_of(LINE, 3), "gpu.nope"):
        redis_client.lpush(key, "a message")
    found = {each.key: each.messages for each in backlog_in(redis_client, settings, [QUEUE, "gpu.empty"])}
    assert found == {QUEUE: 1, list_of(QUEUE, 9): 1, list_of(LINE, 3): 2}


def test_queue_of_a_newer_version_is_no_error(redis_client: redis.Redis, settings: Settings) -> None:
    redis_client.lpush("cloud.shapes-flow", "a message")
    (found,) = backlog_in(redis_client, settings, ["cloud.shapes-flow"])
    assert (found.of_jobs, found.messages) == ("cloud.shapes-flow", 1)


def test_whatever_is_named_as_our_lists_are_is_found(redis_client: redis.Redis, settings: Settings) -> None:
    lists = ["gpu.nope", list_of("run.shapes-flow", 9), "any.count", f"{QUEUE}\x06\x1612", f"{QUEUE}\x06\x160"]
    for key in (*lists, "celery", "theirs"):
        redis_client.lpush(key, "a message", "another")
    redis_client.lpush(b"gpu.\xff", "a message")
    redis_client.set("gpu.text", "no list")
    found = find_backlog(redis_client, settings)
    assert {each.key for each in found} == set(lists)
    assert {each.messages for each in found} == {2}
    priorities = {each.key: each.priority for each in found}
    assert [priorities[key] for key in lists] == [0, 9, 0, None, None]
