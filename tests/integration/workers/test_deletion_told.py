"""Whoever hears of an end hears that its result is deleted: Celery's results, callbacks, and notifiers on their way."""

from __future__ import annotations

from typing import Any

import pytest
from celery.result import AsyncResult

from jobs import names
from jobs.announce.celery import CeleryResults
from tests.integration.workers.house import House
from tests.words import MARK, in_redis


def result_of(house: House, job_id: str) -> tuple[str, Any]:
    result: Any = AsyncResult(job_id, app=house.sender)
    return result.state, result.result


def test_sender_s_result_keeps_its_status_and_says_that_it_is_deleted(house: House) -> None:
    done, failed = house.run(house.send()), house.fail(house.send())
    house.notifier.run_once()
    for job_id in (done, failed):
        house.deletions.delete(job_id)
        house.see_through(job_id)
    state, told = result_of(house, done)
    assert (state, told["status"], told["result"], "parameters" in told) == ("SUCCESS", "succeeded", "gone", False)
    state, error = result_of(house, failed)
    assert (state, "generation_error" in str(error), "was deleted" in str(error)) == ("FAILURE", True, True)


def test_callbacks_that_were_sent_are_not_sent_again_and_others_are(house: House) -> None:
    link = house.sender.signature("theirs.store", queue="theirs")
    told = house.run(house.send(link=link))
    house.notifier.run_once()
    untold = house.run(house.send(link=link))
    assert house.client.llen("theirs") == 1
    for job_id in (told, untold):
        house.deletions.delete(job_id)
        house.see_through(job_id)
    assert house.client.llen("theirs") == 2
    assert result_of(house, untold)[0] == "SUCCESS"
    assert house.client.hget(names.job_key(untold), "tell") is None


@pytest.mark.parametrize("is_late", [True, False], ids=["late", "before the others"])
def test_notifier_who_has_the_result_in_hand_does_not_bring_it_back(house: House, is_late: bool) -> None:
    job_id = house.run(house.send())
    (in_hand,) = house.notifier._outbox.take(10)
    house.deletions.delete(job_id)
    house.deleter.run_once()
    if is_late:
        assert house.notifier.run_once() == 1  # As another process would.
    results = CeleryResults(house.settings)
    results.notify(in_hand.record, in_hand.wants)
    house.notifier._outbox.notified(in_hand)
    results.close()
    house.see_through(job_id)
    assert in_redis(house.raw) == []


@pytest.mark.parametrize("is_gone", [True, False])
def test_message_that_is_sent_again_is_told_that_the_result_is_gone(house: House, is_gone: bool) -> None:
    job_id = house.run(house.send())
    house.notifier.run_once()
    house.deletions.delete(job_id)
    if is_gone:
        house.see_through(job_id)
    link = house.sender.signature("theirs.store", args=[MARK], queue="theirs")
    assert house.send(task_id=job_id, link=link) == job_id
    assert house.is_due(job_id)
    house.see_through(job_id)
    assert house.client.delete("theirs") == 1
    assert result_of(house, job_id)[1]["result"] == "gone"
    assert in_redis(house.raw) == []


def test_record_stays_until_its_sender_has_heard(house: House) -> None:
    job_id = house.run(house.send())
    house.notifier.run_once()
    house.deletions.delete(job_id)
    assert house.context.table.drop_ended().count == 0
    house.see_through(job_id)
    assert house.context.table.drop_ended().count == 1
    assert in_redis(house.raw) == []
