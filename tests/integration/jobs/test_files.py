"""The table of uploaded files, on a real server: whose they are, how long they stay, and the jobs that keep them."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import redis

from jobs import names
from jobs.errors import FileInUse, FileNotFound, FilesTooLarge, IdempotencyConflict, QuotaExceeded
from jobs.inputs.files import LEAST_COUNTED_BYTES, File, Files, is_file_id, new_file_id
from jobs.kinds.inputs import Input
from jobs.process.settings import Settings
from jobs.table.queues import QueueControl
from jobs.table.states import Status
from jobs.table.submission import Submission
from jobs.table.table import JobTable
from tests.integration.jobs.steps import MakeJob, claim

MIB = 1 << 20
PAST, FUTURE = 1_000_000.0, 5_000_000_000.0


def a_file(caller: str = "ann", **fields: Any) -> File:
    """Of bytes that no other has."""
    given = {
        "id": new_file_id(),
        "caller": caller,
        "filename": "größer ☃.png",
        "purpose": "vision",
        "content_type": "image/png",
        "size_bytes": 20 * MIB,
        "sha256": secrets.token_hex(32),
        "width": 640,
        "height": 480,
        "created_at": 1_790_000_000.25,
        "expires_at": FUTURE,
    }
    return File(**{**given, **fields})


@pytest.fixture
def files(connection: redis.Redis, settings: Settings) -> Files:
    return Files(connection, settings)


@pytest.fixture
def a_submitted(table: JobTable, a_job: MakeJob) -> Callable[[File, Files], str]:
    """A job that needs a file, submitted as it has to be."""

    def submit(file: File, files: Files) -> str:
        job = a_job()
        files.use(file.id, job.job_id)
        table.submit(job)
        return job.job_id

    return submit


def leftovers(client: redis.Redis) -> set[str]:
    """Keys of files that are there."""
    return {str(key) for key in client.keys("imagemill:file*")}


def test_ids_are_files_and_no_two_are_alike() -> None:
    ids = {new_file_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(is_file_id(each) for each in ids)
    for other in ("", "file-", "file-" + "a" * 23, "file-" + "a" * 25, "file-" + "é" * 24, "file-" + "a" * 23 + "/"):
        assert not is_file_id(other)


def test_file_is_read_back_as_it_was_written(files: Files) -> None:
    for file in (a_file(), a_file(width=None, height=None, expires_at=None, filename="", purpose="user_data")):
        assert files.add(file) == file
        assert files.get(file.id, "ann") == file
        assert files.get(file.id, None) == file


def test_file_of_another_is_as_one_that_never_was(files: Files) -> None:
    file, missing = files.add(a_file()), new_file_id()

    def refusal(file_id: str, ask: Callable[[str], object]) -> str:
        with pytest.raises(FileNotFound) as refused:
            ask(file_id)
        return str(refused.value).replace(file_id, "ID")

    for ask in (
        lambda each: files.get(each, "bob"),
        lambda each: files.delete(each, "bob"),
        lambda each: files.list("bob", limit=10, after=each),
    ):
        assert refusal(file.id, ask) == refusal(missing, ask) == refusal("file-*", ask)
    assert files.list("bob", limit=10) == []
    assert files.get(file.id, "ann") == file


def test_same_bytes_are_kept_once_for_a_caller_and_a_purpose(files: Files, redis_client: redis.Redis) -> None:
    first = files.add(a_file())
    again = replace(first, id=new_file_id(), filename="again.png", expires_at=FUTURE + 5)
    files.begin(again.id)
    assert files.add(again) == replace(first, expires_at=FUTURE + 5)
    files.forget(again.id)
    assert files.get(first.id, "ann") == replace(first, expires_at=FUTURE + 5)
    others = [
        replace(again, id=new_file_id(), caller="bob"),
        replace(again, id=new_file_id(), purpose="user_data"),
        replace(again, id=new_file_id(), sha256="0" * 64),
    ]
    for each in others:
        assert files.add(each) == each
    assert files.kept() == {"ann": 3 * 20 * MIB, "bob": 20 * MIB}
    assert redis_client.zcard(names.FILES_BEGUN) == 0


@pytest.mark.parametrize(
    ("before", "then", "kept"),
    [(FUTURE, FUTURE - 5, FUTURE), (FUTURE, None, None), (None, FUTURE, None), (None, None, None)],
)
def test_what_a_file_was_promised_is_kept_when_it_comes_again(
    files: Files, before: float | None, then: float | None, kept: float | None
) -> None:
    first = files.add(a_file(expires_at=before))
    assert files.add(replace(first, id=new_file_id(), expires_at=then)).expires_at == kept
    assert files.get(first.id, "ann").expires_at == kept


def test_caller_has_room_for_so_much_and_no_more(files: Files) -> None:
    kept = [files.add(a_file(), max_mib=60) for _ in range(3)]
    with pytest.raises(FilesTooLarge, match="the files of ann have reached their limit of 60 MiB"):
        files.add(a_file(size_bytes=1), max_mib=60)
    files.add(replace(kept[0], id=new_file_id()), max_mib=60)  # It is there already.
    files.add(a_file("bob"), max_mib=60)
    files.delete(kept[0].id, "ann")
    assert files.add(a_file(), max_mib=60)
    small = files.add(a_file("eve", size_bytes=1))
    assert files.kept()["eve"] == LEAST_COUNTED_BYTES
    files.delete(small.id, "eve")
    assert "eve" not in files.kept()


def test_room_is_what_the_settings_say(connection: redis.Redis, settings: Settings) -> None:
    files = Files(connection, settings.model_copy(update={"max_file_mib": 30}))
    files.add(a_file())
    with pytest.raises(FilesTooLarge, match="limit of 30 MiB"):
        files.add(a_file())


def test_files_are_listed_in_order_by_pages(files: Files) -> None:
    mine = [files.add(a_file(purpose=purpose)) for purpose in ("vision", "user_data") * 3]
    other = files.add(a_file("bob"))
    assert files.list("ann", limit=100) == mine[::-1]
    assert files.list("ann", limit=100, order="asc") == mine
    assert files.list("ann", limit=2, after=mine[4].id) == [mine[3], mine[2]]
    assert files.list("ann", limit=2, after=mine[4].id, order="asc") == [mine[5]]
    assert files.list("ann", limit=100, purpose="vision") == mine[::2][::-1]
    assert files.list("ann", limit=1, purpose="vision", after=mine[2].id) == [mine[0]]
    assert files.list("ann", limit=1, purpose="batch") == []
    assert files.list(None, limit=2) == [other, mine[5]]
    assert files.list(None, limit=3, purpose="user_data") == [mine[5], mine[3], mine[1]]
    files.delete(mine[3].id, "ann")
    assert files.list("ann", limit=2, after=mine[4].id) == [mine[2], mine[1]]


def test_nothing_stays_of_a_file_that_is_deleted(files: Files, redis_client: redis.Redis) -> None:
    file = files.add(a_file())
    assert files.delete(file.id, None) == file
    for ask in (
        lambda: files.get(file.id, "ann"),
        lambda: files.delete(file.id, "ann"),
        lambda: files.use(file.id, "a-job"),
    ):
        with pytest.raises(FileNotFound):
            ask()
    assert files.list("ann", limit=9) == files.list(None, limit=9) == []
    assert files.due(9) == [file]  # Its object is not known to be gone.
    files.forget(file.id)
    assert files.due(9) == []
    assert leftovers(redis_client) == set()


def test_same_bytes_are_a_new_file_while_the_one_before_goes(files: Files, redis_client: redis.Redis) -> None:
    before = files.add(a_file())
    files.delete(before.id, "ann")
    again = replace(before, id=new_file_id())
    assert files.add(again) == again
    files.forget(before.id)
    assert files.get(again.id, "ann") == again
    assert files.kept() == {"ann": 20 * MIB}
    assert files.list("ann", limit=9) == [again]


def test_expired_file_is_due_and_one_that_is_not_stays(files: Files, redis_client: redis.Redis) -> None:
    old = files.add(a_file(expires_at=PAST))
    kept = [files.add(a_file()), files.add(a_file(expires_at=None))]
    assert files.due(9) == [old]
    with pytest.raises(FileNotFound):
        files.get(old.id, "ann")
    files.forget(old.id)
    assert files.due(9) == []
    assert files.list("ann", limit=9, order="asc") == kept


@pytest.fixture
def an_edit(a_job: MakeJob) -> Callable[..., Submission]:
    """A job that needs a file, about to be submitted."""

    def make(file: File, files: Files, **fields: Any) -> Submission:
        image = Input(file=file.id, bytes=file.size_bytes, width=64, height=64)
        job = a_job(kind="edit", image=image, **fields)
        files.use(file.id, job.job_id)
        return job

    return make


def test_file_of_a_job_that_is_refused_is_free(
    files: Files, table: JobTable, an_edit: Callable[..., Submission]
) -> None:
    file = files.add(a_file())
    with pytest.raises(QuotaExceeded):
        table.submit(an_edit(file, files, quota=0))
    assert files.delete(file.id, "ann") == file


@pytest.mark.parametrize("seed", [7, 8], ids=["replayed", "conflict"])
def test_file_is_needed_by_the_first_job_of_an_idempotency_key_alone(
    files: Files, table: JobTable, an_edit: Callable[..., Submission], seed: int
) -> None:
    file = files.add(a_file())
    first = an_edit(file, files, idempotency_key="a key")
    table.submit(first)
    with suppress(IdempotencyConflict):
        table.submit(an_edit(file, files, idempotency_key="a key", seed=seed))
    with pytest.raises(FileInUse):
        files.delete(file.id, "ann")
    table.cancel(first.job_id)
    assert files.delete(file.id, "ann") == file


def test_files_that_jobs_need_hold_up_no_others(files: Files, redis_client: redis.Redis) -> None:
    needed = [files.add(a_file(expires_at=PAST)) for _ in range(5)]
    for each in needed:
        files.use(each.id, "a-job-to-come")
    old = files.add(a_file(expires_at=PAST + 1))
    assert files.due(2) == [old]


def test_file_of_a_job_stays_until_the_job_has_ended(
    files: Files, table: JobTable, redis_client: redis.Redis, a_submitted: Callable[[File, Files], str]
) -> None:
    file = files.add(a_file(expires_at=PAST))
    waiting, running = (a_submitted(file, files) for _ in range(2))
    claimed = claim(table, running)

    def is_kept() -> bool:
        redis_client.zadd(names.FILE_EXPIRY, {file.id: PAST})  # As if the next look was due.
        with pytest.raises(FileInUse):
            files.delete(file.id, "ann")
        return files.due(9) == [] and files.get(file.id, "ann") == file

    assert is_kept()
    table.finish(claimed, Status.SUCCEEDED, artifacts=[])
    assert is_kept()
    table.cancel(waiting)
    redis_client.zadd(names.FILE_EXPIRY, {file.id: PAST})
    assert files.due(9) == [file]


@pytest.mark.parametrize("end", [Status.SUCCEEDED, Status.FAILED, Status.CANCELED])
def test_file_of_an_ended_job_may_be_deleted(
    files: Files, table: JobTable, a_submitted: Callable[[File, Files], str], end: Status
) -> None:
    file = files.add(a_file())
    table.finish(claim(table, a_submitted(file, files)), end, artifacts=[])
    assert files.delete(file.id, "ann") == file


def test_file_of_a_job_that_lost_its_worker_stays(
    files: Files, table: JobTable, control: QueueControl, a_submitted: Callable[[File, Files], str]
) -> None:
    """It waits again, and is to find its picture."""
    file = files.add(a_file())
    claimed = claim(table, a_submitted(file, files))
    table.give_back(claimed)
    with pytest.raises(FileInUse):
        files.delete(file.id, "ann")


def test_job_that_only_a_newer_version_knows_keeps_its_file(
    files: Files, redis_client: redis.Redis, a_submitted: Callable[[File, Files], str]
) -> None:
    file = files.add(a_file())
    job = names.job_key(a_submitted(file, files))
    redis_client.hset(job, "status", "resting")
    with pytest.raises(FileInUse):
        files.delete(file.id, "ann")
    redis_client.hset(job, "ended_at", "1")
    assert files.delete(file.id, "ann") == file


def test_job_that_is_to_come_keeps_its_file_for_an_hour(files: Files, redis_client: redis.Redis) -> None:
    file = files.add(a_file(expires_at=PAST))
    files.use(file.id, "a-job-to-come")
    with pytest.raises(FileInUse):
        files.delete(file.id, "ann")
    assert files.due(9) == []
    redis_client.zadd(names.file_jobs_key(file.id), {"a-job-to-come": time.time() - 3_700})
    redis_client.zadd(names.FILE_EXPIRY, {file.id: PAST})
    assert files.due(9) == [file]


def test_many_jobs_that_have_ended_are_in_nobody_s_way(
    files: Files, redis_client: redis.Redis, a_submitted: Callable[[File, Files], str]
) -> None:
    file = files.add(a_file())
    redis_client.zadd(names.file_jobs_key(file.id), {str(uuid.uuid4()): float(at) for at in range(950)})
    goes_on = a_submitted(file, files)
    with pytest.raises(FileInUse):
        files.delete(file.id, "ann")
    assert redis_client.zrange(names.file_jobs_key(file.id), 0, -1) == [goes_on]


def test_jobs_that_have_ended_are_forgotten_while_others_come(
    files: Files, table: JobTable, redis_client: redis.Redis, a_submitted: Callable[[File, Files], str]
) -> None:
    file = files.add(a_file())
    for _ in range(6):
        table.cancel(a_submitted(file, files))
    assert redis_client.zcard(names.file_jobs_key(file.id)) <= 2


def test_upload_whose_process_died_is_found(files: Files, redis_client: redis.Redis) -> None:
    dead, alive = new_file_id(), new_file_id()
    for each in (dead, alive):
        files.begin(each)
    assert files.lost(9) == []
    redis_client.zadd(names.FILES_BEGUN, {dead: PAST})
    assert files.lost(9) == [dead]
    files.forget(dead)
    assert files.lost(9) == []
    assert redis_client.zrange(names.FILES_BEGUN, 0, -1) == [alive]


def test_upload_that_has_become_a_file_is_none_that_is_lost(files: Files, redis_client: redis.Redis) -> None:
    file = a_file()
    files.begin(file.id)
    files.add(file)
    assert redis_client.zcard(names.FILES_BEGUN) == 0
    redis_client.zadd(names.FILES_BEGUN, {file.id: PAST})
    assert files.lost(9) == []
    assert redis_client.zcard(names.FILES_BEGUN) == 0
    assert files.get(file.id, "ann") == file
