"""Services that have Celery alone hear of the end of each of their jobs, whatever is killed, full, or away."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence

import pytest
from celery import Celery

from jobs import names
from producer import Job
from tests.blackbox.outside import Fan, calls, fill, generate, make_room, standing, wait_for
from tests.celery_sender import celery_sender
from tests.faults.conftest import MakeSystem
from tests.faults.harness.rows import Row
from tests.faults.harness.system import System
from tests.faults.harness.waiting import until
from tests.faults.harness.worker import WorkerUnderTest

KILLS, SEED = 20, 20261129
WORKERS, AT_ONCE = 4, 2
MESSAGES = 120
AWAY_S = 8.0
ENDED = ("succeeded", "failed", "canceled", "expired")


@pytest.fixture
def system(make_system: MakeSystem) -> System:
    """So many attempts that no job dies of its bad luck."""
    return make_system({"IMAGEMILL_LEASE_S": "5", "IMAGEMILL_MAX_ATTEMPTS": "20"})


@pytest.fixture
def app(system: System) -> Iterator[Celery]:
    """A service's."""
    with celery_sender(system.redis_server.url) as app:
        yield app


class Senders:
    """
    Keep fans under way: tasks with callbacks, chains, groups, chords.

    Attributes:
        fans: All that were sent.
    """

    def __init__(self, system: System, app: Celery) -> None:
        self._redis, self._app = system.redis, app
        self._open: list[Fan] = []
        self.fans: list[Fan] = []

    def top_up(self) -> bool:
        """Send what is missing; true, for conditions that are waited for meanwhile."""
        self._open = [fan for fan in self._open if not self._has_ended(fan)]
        while len(self._open) < AT_ONCE:
            fan = Fan.send(self._app, {"num_inference_steps": 8})
            self._open.append(fan)
            self.fans.append(fan)
        return True

    def _has_ended(self, fan: Fan) -> bool:
        return all(self._redis.hget(names.job_key(job_id), "status") in ENDED for job_id in fan.ids)


def jobs_of(system: System, fans: Sequence[Fan]) -> list[Job]:
    """When they are all there."""
    jobs = [system.client.job(job_id) for fan in fans for job_id in fan.ids]
    until("all are jobs", lambda: all(system.redis.exists(names.job_key(job.id)) for job in jobs))
    return jobs


def test_celery_senders_hear_of_every_end_through_20_kills(system: System, app: Celery, row: Row) -> None:
    dice = random.Random(SEED)
    workers = [system.worker() for _ in range(WORKERS)]
    system.ready()
    senders = Senders(system, app)

    def next_victim() -> WorkerUnderTest | None:
        senders.top_up()
        ready = [each for each in workers if each.is_ready()]
        holding = [each for each in ready if system.held_by(each.owner)]
        return dice.choice(holding) if len(ready) >= 2 and holding else None

    for _ in range(KILLS):
        moment = time.monotonic() + dice.uniform(0.2, 1.5)
        until("the moment has come", lambda moment=moment: senders.top_up() and time.monotonic() >= moment)  # type: ignore[misc]
        victim = until("a worker holds jobs, and another is ready", next_victim)
        victim.kill()
        workers.remove(victim)
        workers.append(system.worker())
    jobs = jobs_of(system, senders.fans)
    system.finish(jobs)
    for fan in senders.fans:
        fan.check(system.redis, "SUCCESS")
    row.note(seed=SEED, senders=len(senders.fans))
    row.close(system, jobs, injected=KILLS)


def fans_that_end_well_through(system: System, app: Celery, kill: str) -> list[Fan]:
    """Of a sender, while such a kill strikes one of two workers, three times in all."""
    for _ in range(2):
        system.worker({kill: {"times": 3}})
    system.ready()
    fans = [Fan.send(app) for _ in range(3)]
    for fan in fans:
        fan.check(system.redis, "SUCCESS")
    return fans


def test_teller_is_killed_between_telling_and_noting(system: System, app: Celery, row: Row) -> None:
    fans = fans_that_end_well_through(system, app, "kill_before_told")
    struck = system.evidence("kill_before_told")
    repeated = len(calls(system.redis, "theirs.done")) - 2 * len(fans)
    row.note(callbacks_that_came_twice=repeated)
    row.close(system, jobs_of(system, fans), injected=len(struck))
    until("nothing is left to be told", lambda: system.redis.zcard(names.outbox_key("celery")) == 0)


def test_teller_is_killed_before_it_sends_the_body_of_a_chord(system: System, app: Celery, row: Row) -> None:
    fans = fans_that_end_well_through(system, app, "kill_before_body")
    row.close(system, jobs_of(system, fans), injected=len(system.evidence("kill_before_body")))
    until("nothing is left to be told", lambda: system.redis.zcard(names.outbox_key("celery")) == 0)


def test_worker_is_killed_with_messages_in_hand(system: System, app: Celery, row: Row) -> None:
    fans = fans_that_end_well_through(system, app, "kill_with_messages_in_hand")
    assert standing(system.redis) == 0
    row.close(system, jobs_of(system, fans), injected=len(system.evidence("kill_with_messages_in_hand")))


def test_redis_fills_up_while_messages_become_jobs(system: System, app: Celery, row: Row) -> None:
    system.run_workers(2)
    sent = [generate(app, {"num_inference_steps": 1}).apply_async() for _ in range(MESSAGES // 2)]
    until("some are jobs", lambda: known(system) > 0)
    fill(system.redis, 0.97)
    sent += [generate(app, {"num_inference_steps": 1}).apply_async() for _ in range(MESSAGES // 2)]
    waiting = until("what came before is done, and the rest stands", lambda: quiet(system))
    make_room(system.redis)
    for task in sent:
        wait_for(task, "SUCCESS")
    assert standing(system.redis) == 0
    row.close(system, [system.client.job(str(task.id)) for task in sent], injected=waiting)


def known(system: System) -> int:
    return int(system.redis.zcard(names.JOBS))


def quiet(system: System) -> int:
    """How many messages stand, when no job waits or runs; each that was sent is in one of the two places."""
    counts = system.counts_of_queue()
    if counts.waiting + counts.released + counts.running:
        return 0
    waiting = standing(system.redis)
    return waiting if waiting + known(system) == MESSAGES else 0


def test_redis_is_restarted_while_messages_become_jobs(system: System, app: Celery, row: Row) -> None:
    system.run_workers(2)
    fans = [Fan.send(app) for _ in range(6)]
    until("some are jobs", lambda: known(system) > 0)
    system.redis_server.stop()
    began = time.monotonic()
    until(f"{AWAY_S:g} s have passed", lambda: time.monotonic() - began >= AWAY_S)
    system.redis_server.start()
    system.redis_server.wait_until_ready()
    back = time.monotonic()
    jobs = jobs_of(system, fans)
    for fan in fans:
        fan.check(system.redis, "SUCCESS")
    row.close(system, jobs, injected=1, recovered_s=[time.monotonic() - back])
