"""What all that stands in Redis has to hold, by the model: records, and sets, lists and counts beside them."""

from __future__ import annotations

from collections import Counter

from jobs import names
from jobs.table.states import Status
from tests.integration.jobs.model import WINDOW, Model, Turns
from tests.integration.jobs.snapshot import Snapshot
from tests.integration.jobs.steps import QUEUE

BATCH = "a-batch"
KEPT_ENDED = 2**21  # as in the scripts


def check_sets(seen: Snapshot, model: Model) -> None:
    """Jobs stand where they are, and callers have had what they have had."""
    for caller in {job.caller for job in model.jobs.values()}:
        assert seen.zrange(names.waiting_key(QUEUE, caller)) == model.waiting(caller)
        assert set(seen.zrange(names.turns_key(QUEUE, caller))) == model.released(caller)
    released = model.released()
    assert len(released) <= WINDOW
    check_turns(seen, model.turns)
    assert set(seen.zrange(names.released_key(QUEUE))) == released
    running = {job.job_id for job in model.where(Status.PROCESSING)}
    assert set(seen.zrange(names.running_key(QUEUE))) == running
    assert set(seen.zrange(names.DEAD)) == {job.job_id for job in model.jobs.values() if job.is_dead}


def check_turns(seen: Snapshot, turns: Turns) -> None:
    """Callers have the turns that they should, and have had what they have had."""
    assert seen.zrange(names.shares_key(QUEUE)) == turns.in_turn
    had = {caller: score for caller, score in seen.scores(names.shares_key(QUEUE)).items() if score >= 0}
    assert had == turns.shares
    assert seen.scores(names.gone_key(QUEUE)) == turns.gone
    noted = seen.hgetall(names.front_key(QUEUE))
    counted = [float(noted.get(name, 0)) for name in ("had", "firsts", "alone")]
    assert counted == [turns.front, turns.firsts, turns.alone]


def check_records(seen: Snapshot, model: Model) -> None:
    """Each job has a record, which says what it should."""
    assert seen.keys(names.job_key("")) == set(map(names.job_key, model.jobs))
    for job_id, job in model.jobs.items():
        fields = seen.hgetall(names.job_key(job_id))
        assert fields["status"] == job.status
        assert int(fields.get("attempts") or 0) == len(job.charged)
        assert int(fields.get("deliveries") or 0) == job.deliveries
        assert fields.get("token") == (job.claim.token if job.claim else None)
        assert (seen.ttl(names.job_key(job_id)) > 0) == job.status.is_terminal
        assert seen.ttl(names.events_key(job_id)) != -1 or not job.status.is_terminal


def check_ends(seen: Snapshot, model: Model) -> None:
    """The stream of all ends has each once."""
    told = [(each["id"], each["status"], each["queue"], each["caller"]) for each in seen.xrange(names.ENDS)]
    ended = [(job, status) for job in (*model.jobs.values(), *model.gone) for status in job.ends]
    assert sorted(told) == sorted((job.job_id, status, QUEUE, job.caller) for job, status in ended)


def check_lists(seen: Snapshot, model: Model) -> None:
    """Every job is on the lists of jobs, every ended one on that of what expires, every released one in the line."""
    callers = {job.caller for job in model.jobs.values()}
    assert set(seen.zrange(names.JOBS)) == set(model.jobs)
    for caller in callers:
        own = [job.job_id for job in model.jobs.values() if job.caller == caller]
        assert set(seen.zrange(names.jobs_key(caller))) == set(own)
    ended = {f"{job.job_id} {job.caller}" for job in model.jobs.values() if job.status.is_terminal}
    assert set(seen.zrange(names.EXPIRING)) == ended
    line = seen.zrange(names.line_key(QUEUE))
    assert set(line) == set().union(*map(model.released, callers))
    queued = [job for job in model.jobs.values() if job.status is Status.QUEUED]
    later = [job for job in queued if job.is_later]
    assert set(seen.zrange(names.later_key(QUEUE))) == {job.job_id for job in later}
    for caller in callers:
        of_caller = {job.job_id for job in later if job.caller == caller}
        assert seen.smembers(names.later_of_key(QUEUE, caller)) == of_caller
        assert set(seen.zrange(names.later_by_key(QUEUE, caller))) == of_caller
    assert {job.caller for job in later} <= set(seen.zrange(names.later_callers_key(QUEUE)))
    queued = [job for job in queued if not job.is_later]
    wait = {job.caller for job in queued if job.job_id not in line}
    assert wait == seen.smembers(names.callers_key(QUEUE)) == model.turns.callers
    in_turn = [job.job_id for job in sorted(queued, key=lambda job: job.turn)]
    assert seen.zrange(names.queued_key(QUEUE)) == in_turn
    called = [model.jobs[job_id].is_called for job_id in line]
    assert called == sorted(called, reverse=True)


def check_kept(seen: Snapshot, model: Model) -> None:
    """What callers' jobs take is counted once: of one that goes on in its record, of one that has ended in the set."""
    sums = {}
    for caller in {job.caller for job in model.jobs.values()}:
        own = [job for job in model.jobs.values() if job.caller == caller]
        kept = seen.scores(names.kept_key(caller))
        assert set(kept) == {job.job_id for job in own if job.status.is_terminal}
        assert all(score > KEPT_ENDED for score in kept.values())
        open_units = [int(seen.hgetall(names.job_key(job.job_id))["kept"]) for job in own if not job.status.is_terminal]
        sums[caller] = str(sum(open_units) + sum(int(score) % KEPT_ENDED for score in kept.values()))
    assert seen.hgetall(names.KEPT_UNITS) == sums


def check_batch(seen: Snapshot, model: Model) -> None:
    """The batch counts its jobs by status, and expires only when all have ended."""
    jobs = [job for job in (*model.jobs.values(), *model.gone) if job.is_in_batch]
    key = names.batch_key(BATCH)
    counts = {name: int(count) for name, count in seen.hgetall(key).items()}
    assert {status: count for status, count in counts.items() if count} == Counter(job.status for job in jobs)
    assert seen.zrange(names.batch_jobs_key(BATCH)) == sorted(job.job_id for job in jobs)
    if jobs:
        assert (seen.ttl(key) > 0) == all(job.status.is_terminal for job in jobs)
