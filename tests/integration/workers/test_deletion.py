"""A deleted result leaves no word and no object, whatever job it was of: a real Redis, and a real store."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import pytest
from celery import chain

from jobs import names
from jobs.fleet.lists import list_of
from jobs.scripts.ranks import LINE
from jobs.table.states import Status
from jobs.table.submission import BatchLine
from jobs.view import view_of
from tests.integration.workers.house import FIELDS, House
from tests.integration.workers.outside import QUEUE
from tests.words import MARK, in_redis, in_store


def succeeded(house: House) -> str:
    return house.run(house.submit(n=2, output={"thumbnail": 32}))


def succeeded_with_data(house: House) -> str:
    job_id = house.submit()
    claim = house.claim(job_id)
    house.context.table.watch([job_id])
    house.context.table.send(claim, {"words": MARK})
    house.context.table.finish(claim, Status.SUCCEEDED, data={"caption": MARK}, warnings=[MARK])
    return job_id


def canceled_while_it_waited(house: House) -> str:
    """Its message still stands in the line."""
    job_id = house.submit()
    house.context.table.cancel(job_id)
    return job_id


def canceled_while_a_worker_had_its_message(house: House) -> str:
    job_id = house.submit()
    line = list_of(names.line_of(QUEUE), LINE)
    (message,) = house.raw.lrange(line, 0, -1)
    house.raw.delete(line)
    house.raw.hset("unacked", "tag", json.dumps([json.loads(message), "", names.line_of(QUEUE)]))
    house.raw.zadd("unacked_index", {"tag": 1.0})
    house.context.table.cancel(job_id)
    return job_id


def failed_with_words(house: House) -> str:
    return house.fail(house.submit())


def expired(house: House) -> str:
    job_id = house.submit(start_deadline=60)
    house.client.hset(names.job_key(job_id), "start_by", 1)
    house.client.zadd(names.DEADLINES, {job_id: 1})
    house.reconciler.run_once()
    return job_id


def in_a_batch(house: House) -> str:
    return house.run(house.submit(batch=BatchLine(batch_id=str(uuid.uuid4()), line=1, custom_id="c1")))


def with_an_idempotency_key(house: House) -> str:
    return house.run(house.submit(idempotency_key="order-12"))


def lost_and_replayed(house: House) -> str:
    job_id = house.submit()
    house.lose(job_id)
    house.control.replay(job_id)
    house.lose(job_id)
    return job_id


def adopted(house: House) -> str:
    job_id = house.run(house.send())
    assert house.notifier.run_once() == 1
    return job_id


def adopted_and_failed(house: House) -> str:
    job_id = house.fail(house.send())
    assert house.notifier.run_once() == 1
    return job_id


def adopted_and_refused(house: House) -> str:
    job_id = house.send({**FIELDS, "colour": MARK})
    assert house.notifier.run_once() == 1
    return job_id


def followed_by_others(house: House) -> str:
    """What followed it was told the result, and what it made of that is its own."""
    link = house.sender.signature("theirs.store", args=[MARK], queue="theirs")
    job_id = house.run(house.send(link=link, link_error=link))
    assert house.notifier.run_once() == 1
    assert house.client.delete("theirs") == 1  # They have taken it.
    return job_id


def followed_by_others_who_do_not_know_yet(house: House) -> str:
    parts = [house.sender.signature(name, queue="theirs") for name in (names.GENERATE_TASK, "theirs.store")]
    first = parts[0].set(queue=QUEUE).clone(kwargs=FIELDS)
    chain(first, parts[1]).apply_async(task_id=str(uuid.uuid4()))
    house.adoption.run_once()
    ((job_id, *_), _) = house.context.table.list_jobs()
    return house.run(job_id.id)


SHAPES: list[Callable[[House], str]] = [
    *(succeeded, succeeded_with_data, canceled_while_it_waited, canceled_while_a_worker_had_its_message),
    *(failed_with_words, expired, in_a_batch, with_an_idempotency_key, lost_and_replayed),
    *(adopted, adopted_and_failed, adopted_and_refused, followed_by_others, followed_by_others_who_do_not_know_yet),
]
STAYS = (
    "id",
    "kind",
    "status",
    "queue",
    "caller",
    "attempts",
    "created_at",
    "started_at",
    "ended_at",
    "timings",
    "batch",
)


@pytest.mark.parametrize("make", SHAPES, ids=lambda make: make.__name__)
def test_no_word_and_no_object_is_left_of_a_deleted_result(house: House, make: Callable[[House], str]) -> None:
    job_id = make(house)
    before = view_of(house.context.table.get(job_id))
    assert in_redis(house.raw), "the test would notice nothing"
    assert bool(house.objects(job_id)) == bool(before.images)
    deleted = view_of(house.deletions.delete(job_id))
    assert deleted.result == "deleting"
    house.see_through(job_id)
    house.client.delete("theirs")
    after = view_of(house.context.table.get(job_id))
    assert in_redis(house.raw) == []
    assert in_store(house.store, MARK, job_id) == []
    assert {name: getattr(after, name) for name in STAYS} == {name: getattr(before, name) for name in STAYS}
    assert (after.result, after.deleted_images, after.images, after.parameters) == (
        "gone",
        len(before.images),
        (),
        None,
    )
    assert (after.error and after.error.code) == (before.error and before.error.code)
