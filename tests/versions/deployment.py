"""A deployment in the middle of an upgrade: processes of two versions on one Redis and one store, and its audit."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection

from jobs import names
from jobs.table.states import Status
from ops.process import Process, free_port
from producer import Job
from tests.blackbox.system import Command
from tests.faults.harness.audit import audit
from tests.faults.harness.system import START_S, System
from tests.faults.harness.waiting import until
from tests.faults.harness.worker import WorkerUnderTest
from tests.versions.checkouts import Version
from tests.versions.sending import End, Sender

FOR_LONG = 1_000  # rounds


class Deployment:
    """
    Starts processes of either version, and ends them.

    Attributes:
        system: Redis, the store, the workers.
        apis: HTTP APIs, by the name of their version.
        senders: All producers that were started.
    """

    def __init__(self, system: System) -> None:
        self.system = system
        self.apis: dict[str, Command] = {}
        self.senders: list[Sender] = []

    def worker(self, version: Version, env: dict[str, str] | None = None) -> WorkerUnderTest:
        """Start a worker; wait with `ready`."""
        return self.system.worker(checkout=version.checkout, env=env)

    def ready(self, *processes: Process) -> None:
        """Wait until workers take jobs, APIs answer, and producers have seen a job end."""
        for process in processes:
            process.wait_until_ready(START_S)

    def serve(self, version: Version) -> Command:
        """Start an API process; wait with `ready`."""
        port = free_port()
        own = {"IMAGEMILL_API_PORT": str(port), "IMAGEMILL_PYTHON": sys.executable}
        api = Command(["api"], self.system.env_in(version.checkout) | own, "", port, version.checkout)
        self.apis[version.name] = api
        api.start()
        return api

    def sender(self, version: Version, door: str, *, rounds: int = FOR_LONG, jobs: int = 10) -> Sender:
        """Start a producer with so many jobs under way; the one over HTTP speaks with its version's API."""
        env = self.system.env_in(version.checkout)
        if door == "http":
            env |= {"SENDER_API_PORT": str(self.apis[version.name].port)}
        sender = Sender(door, env, version.checkout, rounds, jobs)
        self.senders.append(sender)
        sender.start()
        return sender

    def kill(self, worker: WorkerUnderTest) -> list[Job]:
        """SIGKILL a worker while jobs run in it; returns those that it held."""
        owner = worker.owner
        until("jobs run in the worker", lambda: self._run_in(owner))
        worker.kill()
        return [self.system.client.job(job_id) for job_id in self.system.held_by(owner)]

    def take_over(self, lost: Collection[Job], worker: WorkerUnderTest) -> None:
        """Wait until another worker has claimed all of these jobs."""
        assert lost, "the killed worker held nothing"
        owner = worker.owner
        until("the lost jobs are taken over", lambda: all(self.system.counts(job).owner == owner for job in lost), 120)

    def drain(self, worker: WorkerUnderTest) -> None:
        """SIGTERM to a worker while jobs run in it; it has to end well."""
        owner = worker.owner
        until("jobs run in the worker", lambda: self._run_in(owner))
        worker.terminate()
        until("the worker has ended", lambda: worker.exit_code is not None, 180)
        assert worker.exit_code == 0, worker.failure("was to stop")
        assert not self.system.held_by(owner), "it left with jobs"

    def end_of(self, sender: Sender) -> None:
        """Wait for the end of all jobs of a producer that hears of none."""
        self.system.finish([self.system.client.job(job_id) for job_id in sender.submitted])

    def audit(self, others: Collection[Job], lost: Collection[Job] = ()) -> Counter[str]:
        """
        Check every job that anybody submitted; `others` are those that came from no sender.

        Each ended once, as its producer was told, and has its images; the table knows of no other. Jobs that were not
        `lost` with a worker began once. No process has failed at anything.
        """
        client = self.system.client
        sent = [client.job(job_id) for sender in self.senders for job_id in sender.submitted]
        jobs = [*sent, *others]
        ended = audit(self.system, jobs)
        known = set(self.system.redis.zrange(names.JOBS, 0, -1))
        assert known == {job.id for job in jobs}, "the table has other jobs than were submitted"
        times_lost = Counter(job.id for job in lost)
        for job in jobs:
            view = job.status()
            assert not view.is_partial, f"{job.id} is not understood whole"
            assert view.attempts <= 1 + times_lost[job.id], f"{job.id} began {view.attempts} times"
        for sender in self.senders:
            self._check_sender(sender)
        for name, lines in self.printed():
            assert not any("Traceback" in line for line in lines), (name, *lines[-60:])
        return ended

    def printed(self) -> list[tuple[str, list[str]]]:
        """What each process is called, and all that it has printed."""
        workers = [(each.name, each.lines) for each in self.system.workers]
        apis = [(f"api, {version}", each.lines) for version, each in self.apis.items()]
        return [*workers, *apis, *((each.name, each.lines) for each in self.senders)]

    def close(self) -> None:
        """End every process that was started here."""
        for process in (*self.senders, *self.apis.values()):
            process.stop()

    def _check_sender(self, sender: Sender) -> None:
        ends = sender.ended
        for job_id in sender.submitted:
            view = self.system.client.status(job_id)
            assert view.status is Status.SUCCEEDED, f"{job_id}, sent by {sender.door}: {view.status}, {view.error}"
            if sender.is_told:
                end = End(status=view.status, sha256=[image.sha256 for image in view.images])
                assert ends.get(job_id) == end, f"{job_id}: told to {sender.door} was {ends.get(job_id)}"

    def _run_in(self, owner: str) -> bool:
        held = self.system.held_by(owner)
        return any(self.system.counts(self.system.client.job(job_id)).stage == "generate" for job_id in held)
