"""Nothing is lost that was accepted, and nothing thrown away that was paid for."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

from tests.blackbox.system import Command, System, until

REFUSED = 77  # EX_NOPERM of sysexits.h
NOT_USABLE = 3  # of every command whose Redis or S3 cannot be used
INJECTION = Path(__file__).parent / "injection"


def spooled(system: System) -> list[Path]:
    """Folders of attempts whose images wait on disk."""
    return list((system.folder / "spool").glob("*/images/[!.]*"))


def statuses(system: System, jobs: Iterable[str]) -> list[str]:
    return [system.job(job)["status"] for job in jobs]


def change_secret(system: System, secret: str) -> None:
    """The store's keys change under everybody who has the old ones."""
    system.s3_server.stop()
    system.s3_server.secret_access_key = secret
    system.s3_server.start()
    system.s3_server.wait_until_ready()


def end_all(system: System, jobs: list[str]) -> None:
    for job in jobs:
        assert system.end_of(job)["status"] == "succeeded"
        folders = {path.parent for path in system.objects(job)}
        assert len(folders) == 1, "it is stored once"


def test_a_store_that_refuses_stops_the_worker_and_costs_no_job_and_no_picture(system: System) -> None:
    worker = system.worker()
    assert system.end_of(system.submit())["status"] == "succeeded"
    change_secret(system, "another")
    jobs = [system.submit(num_inference_steps=20) for _ in range(12)]
    assert worker.wait_for_exit() == REFUSED
    assert set(statuses(system, jobs)) == {"queued"}
    waited = len(spooled(system))
    assert waited >= 1, "pictures that were made wait"

    refused = system.worker(is_ready=False)
    assert refused.wait_for_exit() == NOT_USABLE, "it takes no job whose picture nobody could store"
    assert set(statuses(system, jobs)) == {"queued"}

    after = system.worker(env={"IMAGEMILL_S3_SECRET_ACCESS_KEY": "another"})
    end_all(system, jobs)
    until("the pictures that waited are stored", lambda: after.printed("stored what waited") == waited)
    assert not spooled(system)


def test_a_worker_that_stops_while_the_store_is_away_keeps_its_pictures_for_the_next(system: System) -> None:
    worker = system.worker(env={"IMAGEMILL_WORKER_GRACE_S": "1"})
    system.s3_server.stop()
    jobs = [system.submit() for _ in range(3)]
    until("all three wait on disk", lambda: len(spooled(system)) == 3)
    os.kill(worker.pid or 0, signal.SIGTERM)
    assert worker.wait_for_exit() == 0
    assert set(statuses(system, jobs)) == {"queued"}
    assert len(spooled(system)) == 3
    system.s3_server.start()
    system.s3_server.wait_until_ready()
    after = system.worker()
    end_all(system, jobs)
    until("they were not made again", lambda: after.printed("stored what waited") == 3)


def test_pictures_of_a_paused_queue_wait_for_it_to_go_on(system: System) -> None:
    worker = system.worker(env={"IMAGEMILL_WORKER_GRACE_S": "1"})
    system.s3_server.stop()
    jobs = [system.submit() for _ in range(2)]
    until("both wait on disk", lambda: len(spooled(system)) == 2)
    os.kill(worker.pid or 0, signal.SIGTERM)
    assert worker.wait_for_exit() == 0
    system.s3_server.start()
    system.s3_server.wait_until_ready()
    assert system.cli("queue", "pause", "gpu.sim").returncode == 0
    system.worker()
    assert len(spooled(system)) == 2
    assert system.cli("queue", "resume", "gpu.sim").returncode == 0
    end_all(system, jobs)
    assert [system.job(job)["attempts"] for job in jobs] == [0, 0], "they were not made again"


def test_threads_go_on_after_errors_that_nobody_foresaw(system: System, tmp_path: Path) -> None:
    """While `broken` is there, whatever a thread asks of Redis raises what no code expects; but not for tasks."""
    broken = tmp_path / "broken"
    worker = system.worker(
        env={"PYTHONPATH": str(INJECTION), "BREAK_REDIS_WHILE": str(broken), "IMAGEMILL_LEASE_S": "4"}
    )
    job = system.submit(num_inference_steps=400)  # Three leases long.
    until("it runs", lambda: system.job(job)["step"] > 0)
    broken.touch()
    until("threads were struck", lambda: worker.printed("nobody foresaw this") >= 2)
    broken.unlink()
    ended = system.end_of(job)
    assert (ended["status"], ended["attempts"]) == ("succeeded", 1)
    canceled = system.submit(num_inference_steps=1000)
    until("it runs", lambda: system.job(canceled)["step"] > 0)
    system.http("DELETE", f"/v1/jobs/{canceled}")
    assert system.end_of(canceled)["status"] == "canceled"


def test_waiting_clients_hear_of_their_jobs_after_a_message_that_nobody_understands(system: System) -> None:
    worker: Command = system.worker()
    job = system.submit(num_inference_steps=100)
    until("it runs", lambda: system.job(job)["step"] > 0)
    listening = system.listen(job)
    until("its events come", lambda: listening.events)
    redis = system.redis()
    for channel in redis.pubsub_channels("imagemill:*"):
        redis.publish(str(channel), "what?")
    answer = system.http("POST", "/v1/jobs", {"prompt": "a red circle"}, headers={"Prefer": "wait=60"})
    assert answer.body["status"] == "succeeded"
    until("the stream ends with the job", lambda: "completed" in listening.events)
    listening.join()
    assert worker.exit_code is None
