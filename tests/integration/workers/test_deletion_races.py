"""Deletion of a result beside all that goes on: attempts that lost their job, a store that is away."""

from __future__ import annotations

import pytest

from jobs import names
from jobs.deletions.deletions import WATCH_S
from jobs.errors import Fenced, InvalidRequest, JobNotEnded, JobNotFound, ResultDeleted, TooMuchKept
from jobs.table.states import Status
from jobs.view import view_of
from producer.client.image import images_of
from storage.keys import AttemptFolder
from tests.integration.workers.house import House
from tests.integration.workers.outside import QUEUE
from tests.words import MARK
from workers.attempt import upload
from workers.attempt.attempt import Attempt
from workers.attempt.recover import Recovery, drop_ended


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload._put.retry, "stop", lambda _state: True)


def looked_for(house: House, job_id: str) -> bool:
    return house.client.zscore(names.DELETIONS, job_id) is not None


def put_late(house: House, job_id: str, created_at: float) -> None:
    """An object of an attempt that lost its job."""
    folder = AttemptFolder(
        prefix=house.store.settings.prefix, job_id=job_id, created_at=created_at, epoch=7, token="late"
    )
    house.store.put(folder.image(0, "png"), MARK.encode(), "image/png")


def test_attempt_that_lost_its_job_and_uploads_leaves_nothing(house: House) -> None:
    """It hears of it behind its last object: by then the result may long be gone."""
    job_id = house.submit()
    attempt = Attempt(house.lose(job_id), house.context)
    house.deletions.delete(job_id)
    house.see_through(job_id)
    assert view_of(house.context.table.get(job_id)).result == "gone"
    put_late(house, job_id, attempt.claim.record.created_at)
    house.deleter.run_once()
    assert house.objects(job_id), "nobody has said anything yet"
    with pytest.raises(Fenced):
        attempt.step()
    house.deleter.run_once()
    assert house.objects(job_id) == []


def test_attempt_that_lost_its_job_and_gives_it_back_leaves_nothing(house: House) -> None:
    claim = house.lose(house.submit())
    house.deletions.delete(claim.job_id)
    house.see_through(claim.job_id)
    put_late(house, claim.job_id, claim.record.created_at)
    with pytest.raises(Fenced):
        house.context.table.give_back(claim)
    house.deleter.run_once()
    assert house.objects(claim.job_id) == []


@pytest.mark.parametrize("is_there", [True, False], ids=["with its record", "after its record"])
def test_what_comes_later_is_found_at_a_later_look(house: House, is_there: bool) -> None:
    """Of an attempt that is killed, or cut off for good, behind its last object."""
    job_id = house.run(house.submit())
    record = house.context.table.get(job_id)
    house.deletions.delete(job_id)
    house.see_through(job_id)
    if not is_there:
        house.context.table.drop_ended()
        assert house.context.table.statuses([job_id]) == [None]
    put_late(house, job_id, record.created_at)
    house.let_pass(job_id, 3600)
    house.deleter.run_once()
    assert house.objects(job_id) == []
    assert house.is_due(job_id, house.settings.lease_s)
    house.let_pass(job_id, 3600)
    house.deleter.run_once()
    assert not house.is_due(job_id, 3 * 3500)
    assert looked_for(house, job_id)
    house.let_pass(job_id, WATCH_S)
    house.deleter.run_once()
    assert not looked_for(house, job_id)
    assert house.client.hlen(names.DELETION_NOTES) == 0


def test_object_that_comes_while_it_is_looked_for_is_looked_for_again(house: House) -> None:
    job_id = house.run(house.submit())
    house.deletions.delete(job_id)
    (taken,) = house.deletions.take(10, 60)
    claim = house.lose(house.submit())
    house.context.table.refund(claim)  # Of no deleted job: nothing is noted.
    assert not looked_for(house, claim.job_id)
    house.client.zadd(names.DELETIONS, {job_id: 1.0})  # As the other attempt has it done, meanwhile.
    assert not house.deletions.settle(taken, 0)
    assert house.client.zscore(names.DELETIONS, job_id) == 1.0


def test_store_that_is_away_gets_its_deletion_later(house: House) -> None:
    first, second = house.run(house.submit()), house.run(house.submit())
    house.store.is_away = True
    for job_id in (first, second):
        house.deletions.delete(job_id)
    assert not house.deleter.run_once()
    assert view_of(house.context.table.get(first)).result == "deleting"
    house.store.is_away = False
    assert len(house.objects(first)) == len(house.objects(second)) == 2
    for job_id in (first, second):
        house.let_pass(job_id, 0)
    house.deleter.run_once()
    assert house.objects(first) == house.objects(second) == []


def test_process_that_dies_before_it_notes_a_look_leaves_it_to_another(house: House) -> None:
    job_id = house.run(house.submit())
    house.deletions.delete(job_id)
    assert house.deletions.take(10, 60)
    assert house.deletions.take(10, 60) == []
    house.let_pass(job_id, 0)  # Its hold is over.
    house.see_through(job_id)
    assert (house.objects(job_id), view_of(house.context.table.get(job_id)).result) == ([], "gone")


def test_job_that_goes_on_is_refused_and_repeating_changes_nothing(house: House) -> None:
    waits, runs = house.submit(), house.submit()
    house.claim(runs)
    for job_id, status in ((waits, "queued"), (runs, "processing")):
        with pytest.raises(JobNotEnded, match=f"is {status}: cancel it first"):
            house.deletions.delete(job_id)
    done = house.run(house.submit())
    first = house.deletions.delete(done)
    house.see_through(done)
    again = house.deletions.delete(done)
    assert (again.deletion, again.deleted_at, again.deleted_images) == ("gone", first.deleted_at, 1)
    with pytest.raises(JobNotFound):
        house.deletions.delete("none")
    with pytest.raises(JobNotFound):
        house.deletions.delete(done, scope="another")
    with pytest.raises(ResultDeleted):
        images_of(view_of(again), house.store)
    with pytest.raises(ResultDeleted):
        house.control.replay(done)


def test_results_of_a_caller_before_a_moment_are_deleted(house: House) -> None:
    old, new, others = (house.run(house.submit(caller=caller)) for caller in ("one", "one", "two"))
    waits = house.submit(caller="one")
    house.client.hset(names.job_key(old), "ended_at", "1000.5")
    assert house.deletions.delete_ended("one", ended_before=1001).job_ids == (old,)
    assert house.deletions.delete_ended("one").job_ids == (new,)
    assert house.deletions.delete_ended("one").job_ids == ()
    found = [view_of(house.context.table.get(each)).result for each in (old, new, others, waits)]
    assert found == ["deleting", "deleting", None, None]
    with pytest.raises(InvalidRequest, match="cursor"):
        house.deletions.delete_ended("one", cursor="x")


def test_record_that_stays_is_not_taken_for_one_that_goes_on(house: House) -> None:
    """A submission that needs room would have it dropped."""
    job_id = house.run(house.submit())
    house.deletions.delete(job_id)
    before = house.client.zscore(names.kept_key("default"), job_id)
    with pytest.raises(TooMuchKept):
        house.submit(max_kept_mib=0)
    assert before == house.client.zscore(names.kept_key("default"), job_id)


def test_result_is_not_gone_before_a_lease_has_passed(house: House) -> None:
    job_id = house.submit()
    house.context.table.cancel(job_id)
    house.deletions.delete(job_id)
    house.deleter.run_once()
    assert view_of(house.context.table.get(job_id)).result == "deleting"
    assert house.is_due(job_id, house.settings.lease_s)


def test_deleted_job_takes_less_and_is_no_dead_one(house: House) -> None:
    job_id = house.submit(prompt="a blue ring " * 300)
    house.lose(job_id)
    assert [each.id for each in house.control.dead()] == [job_id]
    (before,) = house.context.table.kept().values()
    house.deletions.delete(job_id)
    (after,) = house.context.table.kept().values()
    assert before - after > 3_000
    assert house.control.dead() == []


def test_idempotency_key_knows_a_job_whose_result_is_deleted(house: House) -> None:
    job_id = house.run(house.submit(idempotency_key="order-12"))
    house.deletions.delete(job_id)
    assert house.submit(idempotency_key="order-12") == job_id


def test_files_that_wait_on_a_worker_s_disk_go_with_their_job(house: House) -> None:
    job_id = house.submit()
    house.store.is_away = True
    attempt = Attempt(house.claim(job_id), house.context)
    assert attempt.step() is None
    house.store.is_away = False
    house.control.pause(QUEUE)
    house.context.table.give_back(attempt.claim)
    Recovery(house.context)  # It cannot be claimed: its files stay.
    drop_ended(house.context)
    assert len(house.context.spool.left()) == house.context.spool.load.jobs == 1
    house.context.table.cancel(job_id)
    house.deletions.delete(job_id)
    drop_ended(house.context)
    assert house.context.spool.load.jobs == 0


def test_spool_that_is_found_later_is_not_stored(house: House) -> None:
    job_id = house.submit()
    house.store.is_away = True
    attempt = Attempt(house.claim(job_id), house.context)
    assert attempt.step() is None
    house.store.is_away = False
    house.context.table.finish(attempt.claim, Status.FAILED, error={"code": "worker_lost", "message": "lost"})
    house.deletions.delete(job_id)
    Recovery(house.context).run()
    assert (house.context.spool.load.jobs, house.objects(job_id)) == (0, [])
