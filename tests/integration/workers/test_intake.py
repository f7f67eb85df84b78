"""Whether jobs and messages still come into a worker, and what it says of that: a real Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
import redis
from celery import Celery
from celery.result import AsyncResult
from celery.worker.control import Panel

from jobs import names
from jobs.announce.celery import PROTOCOL, CeleryResults
from jobs.announce.notifier import Notifier
from jobs.broker.app import make_app
from jobs.fleet.fleet import Fleet, WorkerReport
from jobs.fleet.serving import Serving
from jobs.process.settings import Settings
from jobs.redis.connection import connect
from jobs.table.figures import FigureReader
from jobs.table.inbox import Inbox
from jobs.table.outbox import Outbox
from jobs.table.states import Status
from tests.blackbox.system import simulated
from workers.attempt.context import Context
from workers.delivery.adoption import Adoption
from workers.process.control import keep_to_lines
from workers.process.parent.failures import how_it_ended, note_failure
from workers.process.reports.heartbeat import Heartbeat
from workers.process.reports.intake import Intake
from workers.process.residency.lines import ReadLines

QUEUE, OTHER = "gpu.sim", "gpu.other"
REPORT = WorkerReport(name="worker@here", state="ready", models=("sim", "other"))

MakeAdoption = Callable[..., Adoption]


@pytest.fixture
def own_settings(settings: Settings, tmp_path: Any) -> Settings:
    models = tmp_path / "own.toml"
    models.write_text(simulated("sim") + simulated("other"), "utf-8")
    return settings.model_copy(update={"models_file": models})


@pytest.fixture
def make_adoption(context: Context, settings: Settings) -> Iterator[MakeAdoption]:
    with connect(settings, decodes=False) as client:
        yield lambda serving=None: Adoption(context, Inbox(client, settings, [QUEUE]), serving)


@pytest.fixture
def app(own_settings: Settings) -> Iterator[Celery]:
    """Of a worker that was started for two models."""
    with make_app(own_settings) as app:
        queues: Any = app.amqp.queues
        queues.select([names.line_of(each) for each in REPORT.queues])
        yield app


@pytest.fixture
def lines() -> ReadLines:
    return ReadLines(REPORT.models)


@pytest.fixture
def heartbeat(context: Context, make_adoption: MakeAdoption, lines: ReadLines) -> Heartbeat:
    heartbeat = Heartbeat(context.table.fleet, context.engine, context.engine_slots, REPORT)
    heartbeat.intake = Intake(REPORT.queues, make_adoption(), lines)
    return heartbeat


class Consumer:
    """Celery's, as far as it is asked to read lines: what it was asked for it does when it comes to that."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self._soon: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self._soon.append(call)

    def come_to_it(self) -> set[str]:
        """Do it. The lines that it reads then."""
        queues: Any = self.app.amqp.queues
        while self._soon:
            self._soon.pop()()  # In no certain order.
        return set(queues.consume_from)

    def lose_it(self) -> None:
        """It connects anew, and has forgotten what it was asked for."""
        self._soon.clear()

    def add_task_queue(self, line: str) -> None:
        queues: Any = self.app.amqp.queues
        queues.select_add(queues[line])

    def cancel_task_queue(self, line: str) -> None:
        queues: Any = self.app.amqp.queues
        queues.deselect(line)


def said(client: redis.Redis, settings: Settings) -> WorkerReport:
    (report,) = Fleet(client, settings).workers()
    return report


def test_worker_whose_consumer_was_canceled_says_so_until_it_is_there_again(
    heartbeat: Heartbeat, lines: ReadLines, redis_client: redis.Redis, settings: Settings
) -> None:
    heartbeat.beat()
    assert (said(redis_client, settings).state, said(redis_client, settings).detached) == ("ready", ())
    lines.leave_out(QUEUE)
    heartbeat.beat()
    report = said(redis_client, settings)
    assert (report.state, report.detached) == ("ready", (QUEUE,))
    assert (report.serves(QUEUE), report.serves(OTHER)) == (False, True)
    lines.leave_out(OTHER)
    heartbeat.beat()
    report = said(redis_client, settings)
    assert (report.state, report.detached) == ("detached", (QUEUE, OTHER))
    assert report.makes_jobs_for(QUEUE)
    lines.take_in(QUEUE)
    lines.take_in(OTHER)
    heartbeat.beat()
    assert said(redis_client, settings).state == "ready"


def test_worker_whose_adoption_stands_still_says_so(
    context: Context, app: Celery, make_adoption: MakeAdoption, redis_client: redis.Redis, settings: Settings
) -> None:
    adoption = make_adoption()
    heartbeat = Heartbeat(context.table.fleet, context.engine, context.engine_slots, REPORT)
    heartbeat.intake = Intake(REPORT.queues, adoption, ReadLines())
    adoption.looked_at = time.monotonic() - 3600
    heartbeat.beat()
    assert not said(redis_client, settings).adopts
    adoption.looked_at = time.monotonic()
    heartbeat.beat()
    assert said(redis_client, settings).adopts


@pytest.mark.parametrize("command", ["add_consumer", "cancel_consumer"])
def test_consumer_is_of_the_line_whatever_queue_is_named_and_of_none_that_is_not_its_own(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    called: list[str] = []
    for each in ("add_consumer", "cancel_consumer"):
        monkeypatch.setitem(Panel.data, each, lambda _state, queue, **_: called.append(queue))
    keep_to_lines([QUEUE], ReadLines())
    for queue in (QUEUE, "run.sim"):
        Panel.data[command](None, queue=queue, exchange=None)
    assert called == ["run.sim", "run.sim"]
    assert "takes no jobs of celery" in Panel.data[command](None, queue="celery")["error"]
    assert called == ["run.sim", "run.sim"]


def test_crash_is_listed_unless_the_worker_has_said_more_itself(redis_client: redis.Redis, settings: Settings) -> None:
    note_failure(settings, REPORT, how_it_ended(-9))
    assert said(redis_client, settings).failure == "its process was ended by SIGKILL"
    fleet = Fleet(redis_client, settings)
    fleet.note_failure(REPORT, "model sim: there is no such folder")
    note_failure(settings, REPORT, how_it_ended(1))
    report = said(redis_client, settings)
    assert (report.state, report.failure) == ("failed", "model sim: there is no such folder")
    assert redis_client.ttl(names.worker_key(REPORT.name)) > 2 * settings.lease_s


def send(app: Celery, **fields: Any) -> str:
    kwargs = {"prompt": "a red circle", **fields}
    return str(app.send_task(names.GENERATE_TASK, kwargs=kwargs, queue=QUEUE).id)


def test_messages_are_counted_by_what_became_of_them(
    make_adoption: MakeAdoption, sender: Celery, context: Context, redis_client: redis.Redis, settings: Settings
) -> None:
    reader = FigureReader(redis_client, settings)
    send(sender)
    send(sender, n=0)
    redis_client.lpush(QUEUE, "no message at all")
    with connect(settings, decodes=False) as client:
        Inbox(client, settings, [QUEUE]).take(10)
    assert reader.read().held == {QUEUE: 3}
    tags = cast("list[str]", redis_client.zrange(names.HELD_UNTIL, 0, -1))
    redis_client.zadd(names.HELD_UNTIL, dict.fromkeys(tags, 1))  # Whoever took them has died.
    for _ in tags:  # Each is taken alone.
        make_adoption().run_once()
    figures = reader.read()
    (queue,) = figures.queues
    assert (queue.adopted, queue.refused, figures.held) == (1, 2, {})
    assert (queue.submitted, queue.ended) == (1, {"failed": 1})


def test_message_of_a_queue_that_never_had_a_job_is_counted_when_it_is_refused(
    make_adoption: MakeAdoption, sender: Celery, redis_client: redis.Redis, settings: Settings
) -> None:
    send(sender, n=0)
    make_adoption().run_once()
    (queue,) = FigureReader(redis_client, settings).read().queues
    assert (queue.queue, queue.adopted, queue.refused) == (QUEUE, 0, 1)


@pytest.mark.parametrize("policy", ["allow", "warn", "refuse"])
def test_sender_hears_of_a_model_that_nobody_serves_where_the_operator_wants_it(
    make_adoption: MakeAdoption,
    context: Context,
    sender: Celery,
    redis_client: redis.Redis,
    settings: Settings,
    policy: str,
) -> None:
    serving = Serving(Fleet(redis_client, settings), settings.model_copy(update={"unserved_models": policy}))
    adoption, job_id = make_adoption(serving), send(sender)
    adoption.run_once()
    Notifier(Outbox(redis_client, settings, PROTOCOL), PROTOCOL, CeleryResults(settings).notify).run_once()
    if policy != "refuse":
        assert context.table.get(job_id).status is Status.QUEUED
        return
    result: Any = AsyncResult(job_id, app=sender)
    with pytest.raises(Exception, match="model_not_available: model: no worker serves model 'sim'"):
        result.get(timeout=60)
    assert context.table.get(job_id).status is Status.FAILED


def test_line_of_a_model_that_is_not_loaded_is_no_detached_one_and_no_button_opens_it(
    monkeypatch: pytest.MonkeyPatch,
    context: Context,
    make_adoption: MakeAdoption,
    redis_client: redis.Redis,
    settings: Settings,
) -> None:
    lines = ReadLines(REPORT.models, closed=["other"])
    report = replace(REPORT, slots=4, loaded=("sim",))
    heartbeat = Heartbeat(context.table.fleet, context.engine, context.engine_slots, report)
    heartbeat.intake = Intake(REPORT.queues, make_adoption(), lines)
    heartbeat.beat()
    report = said(redis_client, settings)
    assert (report.state, report.detached) == ("ready", ())
    assert (report.serves(OTHER), report.has(OTHER), report.has(QUEUE)) == (True, False, True)
    slots = {queue: str(redis_client.hget(names.slots_key(queue), REPORT.name)).split()[0] for queue in REPORT.queues}
    assert slots == {QUEUE: "4", OTHER: "0"}

    called: list[str] = []
    for each in ("add_consumer", "cancel_consumer"):
        monkeypatch.setitem(Panel.data, each, lambda _state, queue, **_: called.append(queue))
    keep_to_lines([QUEUE, OTHER], lines)
    assert "is not loaded" in Panel.data["add_consumer"](None, queue=OTHER)["ok"]
    assert "is not loaded" in Panel.data["cancel_consumer"](None, queue=OTHER)["ok"]
    assert called == []
    heartbeat.beat()  # Nobody is told that it would serve what an operator does not want served here.
    assert said(redis_client, settings).detached == (OTHER,)


def test_lines_are_read_as_they_are_to_be_whatever_was_asked_for_in_between(app: Celery) -> None:
    consumer = Consumer(app)
    lines = ReadLines(REPORT.models, closed=["other"])
    lines.open("other")
    lines.close("sim")  # Before the consumer is there.
    lines.attach(consumer)
    assert consumer.come_to_it() == {"run.other"}
    lines.close("other")
    lines.open("sim")
    lines.open("other")
    assert consumer.come_to_it() == {"run.sim", "run.other"}
    lines.leave_out(OTHER)
    lines.close("other")
    lines.open("other")
    assert consumer.come_to_it() == {"run.sim"}
    lines.take_in(OTHER)
    lines.close("sim")
    consumer.lose_it()
    lines.settle()
    assert consumer.come_to_it() == {"run.other"}
