"""An S3 store that is away, fails or dawdles, and a spool that has no room."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.table.states import Status
from producer import Job
from tests.faults.conftest import MakeSystem
from tests.faults.harness.rows import Row
from tests.faults.harness.s3_proxy import S3Proxy
from tests.faults.harness.system import System
from tests.faults.harness.waiting import until

AWAY_S = 60.0
LONG_LEASE = {"IMAGEMILL_LEASE_S": "60"}


@pytest.fixture
def proxy() -> Iterator[S3Proxy]:
    proxy = S3Proxy()
    yield proxy
    proxy.close()


def spooled(system: System) -> list[Path]:
    """Folders of attempts whose images wait."""
    return list((system.folder / "spool").glob("*/images/[!.]*"))


def slots(system: System) -> int:
    return system.client.workers()[0].slots


def in_one_folder(system: System, job: Job) -> bool:
    return len({key.rsplit("/", 1)[0] for key in system.objects(job)}) == 1


def test_s3_is_60_s_away(make_system: MakeSystem, row: Row) -> None:
    system = make_system(own_s3=True)
    system.run_workers(1)
    system.s3_server.stop()
    began = time.monotonic()
    jobs = system.submit(20)
    until("all slots wait with an image in the spool", lambda: len(spooled(system)) == slots(system))
    held: set[int] = set()

    def is_over() -> bool:
        held.add(system.counts_of_queue().running)
        return time.monotonic() - began >= AWAY_S

    until(f"{AWAY_S:g} s have passed", is_over, 2 * AWAY_S)
    waited = len(spooled(system))
    system.s3_server.start()
    system.s3_server.wait_until_ready()
    back = time.monotonic()
    system.finish(jobs)
    assert max(held) == slots(system), "the worker took more than it can hold"
    assert {job.status().status for job in jobs} == {Status.SUCCEEDED}
    assert [system.counts(job).epoch for job in jobs] == [1] * 20
    until("the spool is empty", lambda: not spooled(system))  # A job has ended before its files are thrown away.
    row.note(waited_in_the_spool=waited)
    row.close(system, jobs, injected=waited, recovered_s=[time.monotonic() - back])


@pytest.mark.parametrize("status", [500, 503])
def test_s3_answers(make_system: MakeSystem, proxy: S3Proxy, row: Row, status: int) -> None:
    system = make_system(proxy.env)
    proxy.upstream = system.s3_server.port or 0
    system.run_workers(1)
    proxy.answer_put = status
    jobs = system.submit(10)
    until("images wait in the spool", lambda: len(spooled(system)) >= 4)
    waited = len(spooled(system))
    proxy.answer_put = 0
    system.finish(jobs)
    assert {job.status().status for job in jobs} == {Status.SUCCEEDED}
    assert [system.counts(job).epoch for job in jobs] == [1] * 10
    until("the spool is empty", lambda: not spooled(system))  # A job has ended before its files are thrown away.
    row.note(waited_in_the_spool=waited)
    row.close(system, jobs, injected=proxy.struck)


def test_s3_is_slow(make_system: MakeSystem, proxy: S3Proxy, row: Row) -> None:
    """Each PUT takes longer than a lease: waiting for storage is healthy."""
    system = make_system({**proxy.env, "IMAGEMILL_LEASE_S": "2"})
    proxy.upstream = system.s3_server.port or 0
    system.run_workers(1)
    proxy.slow_s = 4.0
    jobs = system.submit(6)
    system.finish(jobs)
    assert {job.status().status for job in jobs} == {Status.SUCCEEDED}
    assert [system.counts(job).epoch for job in jobs] == [1] * 6
    row.close(system, jobs, injected=proxy.struck)


def test_worker_is_killed_while_images_wait_and_is_back_within_its_lease(
    make_system: MakeSystem, proxy: S3Proxy, row: Row
) -> None:
    system = make_system({**proxy.env, **LONG_LEASE})
    proxy.upstream = system.s3_server.port or 0
    (worker,) = system.run_workers(1)
    proxy.answer_put = 503
    jobs = system.submit(4)
    until("all wait in the spool", lambda: len(spooled(system)) == 4)
    killed = worker.signal_child(signal.SIGKILL)
    until("the supervisor has another child", lambda: worker.printed("starting another"))
    system.ready(worker)
    assert worker.child_pid != killed
    until(
        "it found the images, and the store still away",
        lambda: worker.printed("spool: the store or Redis cannot be reached"),
    )
    proxy.answer_put = 0
    system.finish(jobs)
    # It says so after the table knows.
    until("all four were stored from the spool", lambda: worker.printed("spool: stored what waited") == 4)
    assert [system.counts(job).epoch for job in jobs] == [1] * 4
    until("the spool is empty", lambda: not spooled(system))
    row.note(stored_after_the_restart=4)
    row.close(system, jobs, injected=4)


def test_worker_is_killed_while_images_wait_and_is_back_too_late(
    make_system: MakeSystem, proxy: S3Proxy, row: Row
) -> None:
    system = make_system({**proxy.env, "IMAGEMILL_LEASE_S": "2"})
    proxy.upstream = system.s3_server.port or 0
    worker, other = system.run_workers(2)
    proxy.answer_put = 503
    os.kill(other.child_pid, signal.SIGSTOP)  # So that all jobs are the first one's; it takes over afterwards.
    jobs = system.submit(4)
    until("all wait in the spool", lambda: len(spooled(system)) == 4)
    worker.kill()
    os.kill(other.child_pid, signal.SIGCONT)
    proxy.answer_put = 0
    system.finish(jobs)
    assert [system.counts(job).epoch for job in jobs] == [2] * 4
    assert len(spooled(system)) == 4
    late = system.worker()
    system.ready(late)
    until("the late worker threw away what is another's", lambda: not spooled(system))
    until("it has said so", lambda: late.printed("spool: the job is another attempt's now") == 4)
    assert all(in_one_folder(system, job) for job in jobs)
    row.close(system, jobs, injected=4)


@pytest.mark.parametrize(("status", "code"), [(403, "InvalidAccessKeyId"), (404, "NoSuchBucket")])
def test_s3_refuses_under_load(make_system: MakeSystem, proxy: S3Proxy, row: Row, status: int, code: str) -> None:
    """Every worker stops and says so, no job fails, and what was made is stored when the store takes it again."""
    system = make_system(proxy.env)
    proxy.upstream = system.s3_server.port or 0
    first = system.run_workers(2)
    jobs = system.submit(30)
    until("some are stored", lambda: any(job.status().status is Status.SUCCEEDED for job in jobs))
    proxy.answer_put, proxy.code = status, code
    until("both workers have ended", lambda: all(worker.exit_code is not None for worker in first))
    assert [worker.exit_code for worker in first] == [os.EX_NOPERM] * 2
    assert {job.status().status for job in jobs} == {Status.SUCCEEDED, Status.QUEUED}
    waited = len(spooled(system))
    proxy.answer_put = 0
    after = system.run_workers(2)
    system.finish(jobs)
    assert {job.status().status for job in jobs} == {Status.SUCCEEDED}
    until("the spool is empty", lambda: not spooled(system))
    stored = sum(worker.printed("spool: stored what waited") for worker in after)
    assert 1 <= stored <= waited  # The same job may have been made by both, one after the other.
    row.note(waited_in_the_spool=waited, stored_without_being_made_again=stored)
    row.close(system, jobs, injected=proxy.struck)


def test_s3_refuses_the_objects_of_one_job(make_system: MakeSystem, proxy: S3Proxy, row: Row) -> None:
    """It is that job's own doing: the worker goes on."""
    system = make_system(proxy.env)
    proxy.upstream = system.s3_server.port or 0
    (worker,) = system.run_workers(1)
    refused, *others = system.submit(6, steps=20)
    proxy.only, proxy.answer_put, proxy.code = refused.id, 400, "EntityTooLarge"
    system.finish([refused, *others])
    error = refused.status().error
    assert error is not None
    assert error.code == "storage_unavailable"
    assert {job.status().status for job in others} == {Status.SUCCEEDED}
    assert worker.exit_code is None
    row.close(system, [refused, *others], injected=proxy.struck)


def fail_for_want_of_room(system: System, proxy: S3Proxy, reason: str) -> list[Job]:
    proxy.upstream = system.s3_server.port or 0
    (worker,) = system.run_workers(1)
    proxy.answer_put = 503
    jobs = system.submit(3)
    system.finish(jobs)
    for job in jobs:
        record = job.status()
        assert record.error is not None
        assert record.status is Status.FAILED
        assert record.error.code == "storage_unavailable"
        assert reason not in record.error.message
    until("it is told to whoever operates the system", lambda: worker.printed(reason) >= len(jobs))
    proxy.answer_put = 0
    after = system.submit(3)
    system.finish(after)
    assert {job.status().status for job in after} == {Status.SUCCEEDED}
    assert not worker.printed("starting another")
    until("the spool is empty", lambda: not spooled(system))  # A job has ended before its files are thrown away.
    return [*jobs, *after]


def test_spool_has_no_room(make_system: MakeSystem, proxy: S3Proxy, row: Row) -> None:
    system = make_system({**proxy.env, "IMAGEMILL_WORKER_SPOOL_MIB": "0"})
    jobs = fail_for_want_of_room(system, proxy, "IMAGEMILL_WORKER_SPOOL_MIB")
    row.close(system, jobs, injected=proxy.struck)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_disk_of_the_spool_is_full(make_system: MakeSystem, proxy: S3Proxy, row: Row, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=True)  # noqa: S607
    try:
        system = make_system({**proxy.env, "IMAGEMILL_WORKER_SPOOL_DIR": str(disk)})
        fill(disk)
        jobs = fail_for_want_of_room(system, proxy, "No space left on device")
        row.close(system, jobs, injected=proxy.struck)
        system.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)  # noqa: S607


def fill(disk: Path) -> None:
    """Leave room for folders and the lock, and for no image."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"0" * 4096)
        except OSError:
            return
