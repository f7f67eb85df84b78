"""Progress on its way to the job table, on a real server."""

from __future__ import annotations

import json
import os
import queue
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis

from jobs.catalogue.catalogue import Catalogue
from jobs.kinds.picture import Stage
from jobs.kinds.registry import parse_request, settle
from jobs.process.settings import Settings
from jobs.redis.connection import connect
from jobs.table.claim import Claim, Report, Verdict
from jobs.table.record import JobRecord
from jobs.table.submission import Submission
from jobs.table.table import JobTable
from ops.process import free_port, wait_until
from ops.servers import RedisServer
from tests.claims import claim_job
from workers.attempt.progress import ProgressWriter

DEADLINE_S = 60.0
INTERVAL_S = 0.25


class NotedTable(JobTable):
    """The job table, with what was reported and when."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        super().__init__(client, settings)
        self.written: list[tuple[float, list[Report]]] = []

    def progress_many(self, reports: Sequence[Report]) -> list[Verdict]:
        verdicts = super().progress_many(reports)
        self.written.append((time.monotonic(), list(reports)))
        return verdicts


Told = queue.Queue[tuple[str, Verdict]]  # job ids, and what the table answered, if it was not "go on"


def note_bad_news(told: Told) -> Callable[[Claim, Verdict], None]:
    def note(claim: Claim, verdict: Verdict) -> None:
        if verdict is not Verdict.GO:
            told.put((claim.job_id, verdict))

    return note


@pytest.fixture
def noted(redis_client: redis.Redis, settings: Settings) -> NotedTable:
    return NotedTable(redis_client, settings)


@pytest.fixture
def told() -> Told:
    return queue.Queue()


@pytest.fixture
def writer(noted: NotedTable, told: Told) -> Iterator[ProgressWriter]:
    writer = ProgressWriter(noted, note_bad_news(told))
    yield writer
    writer.stop()


def claim_a_job(table: JobTable, catalogue: Catalogue, **fields: Any) -> Claim:
    request = parse_request({"prompt": "a red circle", "seed": 7, **fields})
    job = Submission(
        job_id=str(uuid.uuid4()), spec=settle(request, catalogue), digest=request.digest(), queue="gpu.shapes-flow"
    )
    table.submit(job)
    return claim_job(table, job.job_id)


def wait_for(table: JobTable, claim: Claim, stage: Stage, step: int) -> JobRecord:
    def is_there() -> bool:
        record = table.get(claim.job_id)
        return (record.stage, record.step) == (stage, step)

    assert wait_until(is_there, DEADLINE_S)
    return table.get(claim.job_id)


def test_every_stage_reaches_the_table_however_fast_they_follow(
    noted: NotedTable, writer: ProgressWriter, catalogue: Catalogue
) -> None:
    claim = claim_a_job(noted, catalogue)
    writer.follow(claim)
    for stage in (Stage.ENCODE, Stage.GENERATE, Stage.POSTPROCESS):
        for step in range(5):
            writer.note(claim, stage, step, 5)
    writer.note(claim, Stage.UPLOAD)
    wait_for(noted, claim, Stage.UPLOAD, 0)
    stages = [report.stage for _, reports in noted.written for report in reports]
    assert list(dict.fromkeys(stages)) == [Stage.ENCODE, Stage.GENERATE, Stage.POSTPROCESS, Stage.UPLOAD]


def test_data_is_all_written_in_its_place_among_the_stages(
    noted: NotedTable, writer: ProgressWriter, catalogue: Catalogue
) -> None:
    claim = claim_a_job(noted, catalogue)
    writer.follow(claim)
    for step in range(3):
        writer.note(claim, Stage.GENERATE, step, 3)
        writer.send(claim, {"step": step})
    for report in writer.forget(claim):
        noted.progress_many([report])
    writer.send(claim, {"too": "late"})
    reports = [report for _, reports in noted.written for report in reports]
    assert [json.loads(each.data)["data"] if each.data else each.step for each in reports] == [
        0,
        {"step": 0},
        1,
        {"step": 1},
        2,
        {"step": 2},
    ]


def test_an_attempt_sends_so_much_data_and_no_more(
    noted: NotedTable, writer: ProgressWriter, catalogue: Catalogue
) -> None:
    claim = claim_a_job(noted, catalogue)
    writer.follow(claim)
    for _ in range(300):
        writer.send(claim, {"text": "x" * 1_000})
    for report in writer.forget(claim):
        noted.progress_many([report])
    sent = [report.data or "" for _, reports in noted.written for report in reports]
    assert 255 * 1_024 < sum(map(len, sent)) <= 256 * 1_024


def test_steps_are_written_at_most_four_times_a_second_and_the_last_of_them(
    noted: NotedTable, writer: ProgressWriter, catalogue: Catalogue
) -> None:
    claim = claim_a_job(noted, catalogue)
    writer.follow(claim)
    steps = 0

    def note_until_four_were_written() -> bool:
        nonlocal steps
        for _ in range(100):
            steps += 1
            writer.note(claim, Stage.GENERATE, steps, 1_000_000)
        return len(noted.written) >= 4

    assert wait_until(note_until_four_were_written, DEADLINE_S)
    record = wait_for(noted, claim, Stage.GENERATE, steps)
    assert record.steps == 1_000_000
    times = [at for at, _ in noted.written]
    # Never closer than the interval, however slow the machine: an order of events, not a speed.
    assert all(later - earlier >= 0.9 * INTERVAL_S for earlier, later in pairwise(times))
    assert all(len(reports) == 1 for _, reports in noted.written)


def test_notes_within_the_interval_do_not_wake_the_writer(
    noted: NotedTable, writer: ProgressWriter, catalogue: Catalogue
) -> None:
    claim = claim_a_job(noted, catalogue)
    writer.follow(claim)
    (thread,) = [each for each in threading.enumerate() if each.name == "progress"]
    status = Path(f"/proc/self/task/{thread.native_id}/status")

    def woken() -> int:
        """How often it gave a processor up, to wait."""
        return int(re.findall(r"^voluntary_ctxt_switches:\s*(\d+)", status.read_text("utf-8"), re.MULTILINE)[0])

    notes = 0

    def note_once_more() -> bool:
        nonlocal notes
        notes += 1
        writer.note(claim, Stage.GENERATE, notes, 1_000_000)
        os.sched_yield()
        return notes % 25 == 0 and len(noted.written) >= 4

    before = woken()
    end = time.monotonic() + DEADLINE_S
    while not note_once_more():
        assert time.monotonic() < end
    wait_for(noted, claim, Stage.GENERATE, notes)
    # The round trips, and a few locks; on a busy machine, waits for the interpreter too: hundreds, of 100,000 notes.
    assert woken() - before < max(20 * len(noted.written), notes // 50)


def test_reports_of_many_jobs_take_one_round_trip(
    noted: NotedTable, writer: ProgressWriter, catalogue: Catalogue
) -> None:
    claims = [claim_a_job(noted, catalogue) for _ in range(20)]
    for claim in claims:
        writer.follow(claim)
    writer.note(claims[0], Stage.ENCODE)
    assert wait_until(lambda: bool(noted.written), DEADLINE_S)  # It waits an interval now.
    for claim in claims:
        writer.note(claim, Stage.GENERATE, 3, 20)
    for claim in claims:
        wait_for(noted, claim, Stage.GENERATE, 3)
    assert [len(reports) for _, reports in noted.written] == [1, 20]


def test_cancel_of_one_job_reaches_the_listener_and_that_of_no_other(
    noted: NotedTable, writer: ProgressWriter, told: Told, catalogue: Catalogue
) -> None:
    canceled, other = claim_a_job(noted, catalogue), claim_a_job(noted, catalogue)
    noted.cancel(canceled.job_id)
    for claim in (canceled, other):
        writer.follow(claim)
        writer.note(claim, Stage.GENERATE, 1, 20)
    assert told.get(timeout=DEADLINE_S) == (canceled.job_id, Verdict.CANCEL)
    wait_for(noted, other, Stage.GENERATE, 1)
    assert told.empty()


def test_deadline_that_has_passed_reaches_the_listener(
    noted: NotedTable, writer: ProgressWriter, told: Told, catalogue: Catalogue
) -> None:
    claim = claim_a_job(noted, catalogue, deadline=0.5)
    writer.follow(claim)

    def is_told() -> bool:
        writer.note(claim, Stage.GENERATE, 1, 20)
        return not told.empty()

    assert wait_until(is_told, DEADLINE_S)
    assert told.get() == (claim.job_id, Verdict.EXPIRED)


def test_attempt_that_lost_its_job_is_told_so(
    noted: NotedTable, writer: ProgressWriter, told: Told, catalogue: Catalogue
) -> None:
    claim = claim_a_job(noted, catalogue)
    writer.follow(claim)
    redis_key = f"imagemill:job:{claim.job_id}"
    assert noted._redis.hset(redis_key, "token", "another") == 0  # The field was there.
    writer.note(claim, Stage.GENERATE, 1, 20)
    assert told.get(timeout=DEADLINE_S) == (claim.job_id, Verdict.FENCED)


def test_attempt_that_is_not_followed_is_not_reported(
    noted: NotedTable, writer: ProgressWriter, catalogue: Catalogue
) -> None:
    forgotten, other = claim_a_job(noted, catalogue), claim_a_job(noted, catalogue)
    for claim in (forgotten, other):
        writer.follow(claim)
    writer.forget(forgotten)
    writer.note(forgotten, Stage.GENERATE, 1, 20)
    writer.note(other, Stage.GENERATE, 1, 20)
    wait_for(noted, other, Stage.GENERATE, 1)
    assert {report.claim.job_id for _, reports in noted.written for report in reports} == {other.job_id}


def test_redis_that_goes_away_and_comes_back_does_no_harm(tmp_path: Path, catalogue: Catalogue) -> None:
    port = free_port()
    settings = Settings(redis_url=f"redis://127.0.0.1:{port}/0")
    table = NotedTable(connect(settings), settings)
    with RedisServer(tmp_path, port):
        told: Told = queue.Queue()
        writer = ProgressWriter(table, note_bad_news(told))
        claim = claim_a_job(table, catalogue)
        writer.follow(claim)
        writer.note(claim, Stage.GENERATE, 1, 20)
        wait_for(table, claim, Stage.GENERATE, 1)
    writer.note(claim, Stage.GENERATE, 2, 20)
    with RedisServer(tmp_path, port):
        noted_until = iter(range(3, 1_000_000))

        def is_reported_again() -> bool:
            writer.note(claim, Stage.GENERATE, next(noted_until), 20)
            return table.get(claim.job_id).step > 2

        assert wait_until(is_reported_again, DEADLINE_S)
        assert told.empty()
        writer.stop()
