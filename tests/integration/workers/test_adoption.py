"""Messages as Celery's clients of all kinds send them become jobs, or ends that their senders hear of: a real Redis."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import redis
from celery import Celery, chain, chord, group
from celery.result import AsyncResult
from kombu.utils import json as kombu_json
from PIL import Image

from jobs import names
from jobs.announce.celery import PROTOCOL
from jobs.announce.notifier import Notifier
from jobs.announce.revoking import Revoking
from jobs.errors import JobNotFound
from jobs.fleet.lists import list_of
from jobs.process.settings import Settings
from jobs.redis.connection import connect
from jobs.table.inbox import Inbox
from jobs.table.queues import QueueControl
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.table.table import JobTable
from producer.keys.store import KeyStore
from tests.claims import claim_job
from tests.input_pictures import saved
from tests.integration.workers.outside import FIELDS, QUEUE, refusal
from tests.integration.workers.stores import Store
from workers.attempt.context import Context
from workers.delivery.adoption import Adoption


def send(sender: Celery, task: str = names.GENERATE_TASK, **options: Any) -> str:
    options = {"kwargs": FIELDS, "queue": QUEUE, **options}
    return str(sender.send_task(task, **options).id)


def adopted(adoption: Adoption, context: Context, job_id: str) -> JobRecord:
    assert adoption.run_once() == 1
    return context.table.get(job_id)


def test_message_becomes_a_job_like_any_other(
    adoption: Adoption, context: Context, sender: Celery, redis_client: redis.Redis
) -> None:
    record = adopted(adoption, context, send(sender, kwargs={**FIELDS, "n": 2, "caller": "somebody"}))
    assert (record.status, record.queue, record.caller) == (Status.QUEUED, QUEUE, "somebody")
    assert record.payload is not None
    assert (record.payload["model"], record.payload["n"]) == ("sim", 2)
    assert redis_client.hlen(names.HELD) == 0
    assert context.table.queues()[0].waiting + context.table.queues()[0].released == 1


@pytest.mark.parametrize(("priority", "word"), [(0, "high"), (2, "high"), (4, "normal"), (6, "low"), (9, "low")])
def test_priority_of_the_message_is_the_job_s(
    adoption: Adoption, context: Context, sender: Celery, redis_client: redis.Redis, priority: int, word: str
) -> None:
    sender.conf.broker_transport_options = {"priority_steps": list(range(10))}
    record = adopted(adoption, context, send(sender, priority=priority))
    assert (record.payload or {}).get("priority", "normal") == word


def test_whole_number_is_an_integer_however_it_is_written(
    adoption: Adoption, context: Context, sender: Celery, redis_client: redis.Redis
) -> None:
    record = adopted(adoption, context, send(sender, kwargs={**FIELDS, "n": 2.0, "seed": 7.0}))
    spec = str(redis_client.hget(names.job_key(record.id), "spec"))
    assert ((record.payload or {})["n"], (record.payload or {})["seed"], "7.0" in spec) == (2, 7, False)


def test_request_s_own_priority_wins(adoption: Adoption, context: Context, sender: Celery) -> None:
    record = adopted(adoption, context, send(sender, kwargs={**FIELDS, "priority": "low"}, priority=0))
    assert (record.payload or {})["priority"] == "low"


def test_countdown_expiry_and_time_limit_are_the_job_s(
    adoption: Adoption, context: Context, sender: Celery, redis_client: redis.Redis
) -> None:
    job_id = send(sender, countdown=3600, expires=7200, time_limit=60)
    adopted(adoption, context, job_id)
    fields = redis_client.hgetall(names.job_key(job_id))
    created = float(fields["created_at"])
    assert float(fields["not_before"]) - created == pytest.approx(3600, abs=120)
    assert float(fields["start_by"]) - created == pytest.approx(7200, abs=120)
    assert float(fields["time_limit"]) == 60
    assert context.table.claim(job_id, owner="a worker", gives_way=True) == (None, [])


def test_soft_time_limit_alone_is_the_job_s(
    adoption: Adoption, context: Context, sender: Celery, redis_client: redis.Redis
) -> None:
    job_id = send(sender, soft_time_limit=60)
    adopted(adoption, context, job_id)
    assert redis_client.hget(names.job_key(job_id), "time_limit") == "60"


@pytest.mark.parametrize(("expires", "start_by"), [(7200, 600), (300, 300)])
def test_request_s_own_times_win_and_of_two_deadlines_the_earlier(
    adoption: Adoption, context: Context, sender: Celery, redis_client: redis.Redis, expires: int, start_by: int
) -> None:
    own = {"start_after": 60, "start_deadline": 600, "time_limit": 30}
    job_id = send(sender, kwargs={**FIELDS, **own}, countdown=3600, expires=expires, time_limit=900)
    adopted(adoption, context, job_id)
    fields = redis_client.hgetall(names.job_key(job_id))
    created = float(fields["created_at"])
    assert float(fields["not_before"]) - created == pytest.approx(60, abs=1)
    assert float(fields["start_by"]) - created == pytest.approx(start_by, abs=120)
    assert float(fields["time_limit"]) == 30


def test_message_that_has_expired_is_no_job_to_run(
    adoption: Adoption, context: Context, sender: Celery, notifier: Notifier
) -> None:
    job_id = send(sender, expires=datetime.now(UTC) - timedelta(hours=1))
    adopted(adoption, context, job_id)
    context.table.claim(job_id, owner="a worker", gives_way=True)
    notifier.run_once()
    assert AsyncResult(job_id, app=sender).state == "REVOKED"  # type: ignore[comparison-overlap]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kwargs": {"prompt": "a", "n": 0}}, "n: "),
        ({"kwargs": {}}, "prompt: "),
        ({"kwargs": FIELDS, "args": ["a"]}, "args: send the request as keyword arguments"),
        ({"serializer": "pickle"}, "content_type: is 'application/x-python-serialize', and only JSON is read"),
        ({"serializer": "yaml"}, "content_type: "),
        ({"task": "imagemill.generated"}, "task: there is no task 'imagemill.generated'; send"),
        ({"task_id": "with spaces"}, "id: use letters"),
        ({"kwargs": {**FIELDS, "model": "dream"}}, "model: "),
    ],
)
def test_refusal_reaches_its_sender(
    adoption: Adoption, notifier: Notifier, sender: Celery, options: dict[str, Any], sentence: str
) -> None:
    assert sentence in refusal(adoption, notifier, sender, send(sender, **options))


def envelope(body: Any, **headers: Any) -> str:
    """As kombu writes it."""
    return json.dumps(
        {
            "body": base64.b64encode(json.dumps(body).encode()).decode(),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": headers,
            "properties": {
                "body_encoding": "base64",
                "delivery_info": {"exchange": "", "routing_key": QUEUE},
                "delivery_tag": "1",
            },
        }
    )


def deep(levels: int) -> str:
    nested = "[" * levels + "]" * levels
    return envelope([[], {"prompt": "a", "metadata": "@"}, {}], task=names.GENERATE_TASK, id="deep").replace(
        base64.b64encode(json.dumps([[], {"prompt": "a", "metadata": "@"}, {}]).encode()).decode(),
        base64.b64encode(
            json.dumps([[], {"prompt": "a", "metadata": "@"}, {}]).replace('"@"', nested).encode()
        ).decode(),
    )


@pytest.mark.parametrize("kwargs", [None, ["a"], 5])
def test_keyword_arguments_that_are_none_reach_their_sender(
    adoption: Adoption, notifier: Notifier, sender: Celery, redis_client: redis.Redis, kwargs: Any
) -> None:
    redis_client.lpush(QUEUE, envelope([[], kwargs, {}], task=names.GENERATE_TASK, id="odd"))
    assert "kwargs: is not a mapping" in refusal(adoption, notifier, sender, "odd")


@pytest.mark.parametrize("levels", [400, 500, 5_000, 100_000])
def test_nesting_however_deep_reaches_its_sender(
    adoption: Adoption, notifier: Notifier, sender: Celery, redis_client: redis.Redis, levels: int
) -> None:
    redis_client.lpush(QUEUE, deep(levels))
    assert refusal(adoption, notifier, sender, "deep")


@pytest.mark.parametrize("body", [5, [[], {}], {"no": "task"}, None])
def test_body_that_is_no_call_reaches_its_sender(
    adoption: Adoption, notifier: Notifier, sender: Celery, redis_client: redis.Redis, body: Any
) -> None:
    redis_client.lpush(QUEUE, envelope(body, task=names.GENERATE_TASK, id="odd"))
    assert refusal(adoption, notifier, sender, "odd")


@pytest.mark.parametrize("message", ["", "5", "{", '{"body": "x"}', "[" * 100_000, "\xff"])
def test_what_is_no_message_is_dropped_and_holds_nothing_up(
    adoption: Adoption, context: Context, sender: Celery, redis_client: redis.Redis, message: str
) -> None:
    redis_client.lpush(QUEUE, message)
    job_id = send(sender)
    assert adoption.run_once() == 2
    assert context.table.get(job_id).status is Status.QUEUED
    assert redis_client.hlen(names.HELD) == 0


def test_protocol_1_is_read(adoption: Adoption, context: Context, redis_client: redis.Redis) -> None:
    job_id = str(uuid.uuid4())
    body = {"task": names.GENERATE_TASK, "id": job_id, "args": [], "kwargs": FIELDS, "retries": 0, "eta": None}
    redis_client.lpush(QUEUE, envelope(body))
    assert adopted(adoption, context, job_id).status is Status.QUEUED


def test_protocol_1_of_celery_itself_is_read(adoption: Adoption, context: Context, sender: Celery) -> None:
    sender.conf.task_protocol = 1
    assert adopted(adoption, context, send(sender)).status is Status.QUEUED


def test_message_of_a_producer_of_the_version_before_goes_into_the_line(
    adoption: Adoption, sender: Celery, redis_client: redis.Redis
) -> None:
    job_id = send(sender, names.RUN_TASK)
    adoption.run_once()
    (message,) = redis_client.lrange(list_of("run.sim", 3), 0, -1)
    assert json.loads(message)["headers"]["id"] == job_id


def test_message_that_comes_twice_is_one_job(
    adoption: Adoption, context: Context, sender: Celery, redis_client: redis.Redis
) -> None:
    job_id = send(sender)
    (message,) = redis_client.lrange(QUEUE, 0, -1)
    redis_client.lpush(QUEUE, message)
    assert adoption.run_once() == 2
    assert context.table.get(job_id).status is Status.QUEUED
    assert redis_client.zcard(names.JOBS) == 1


def test_message_over_its_caller_s_quota_is_refused_as_by_any_other_door(
    context: Context, settings: Settings, notifier: Notifier, sender: Celery, redis_client: redis.Redis
) -> None:
    table = JobTable(redis_client, settings.model_copy(update={"max_queued": 1}))
    with connect(settings, decodes=False) as client:
        narrow = Adoption(replace(context, table=table), Inbox(client, settings, [QUEUE]))
        first, second = send(sender), send(sender)
        others = send(sender, kwargs={**FIELDS, "caller": "other"})
        assert "default has reached its limit of 1 queued jobs" in refusal(narrow, notifier, sender, second)
    assert [table.get(each).status for each in (first, second, others)] == [
        *(Status.QUEUED, Status.FAILED, Status.QUEUED),
    ]
    error = table.get(second).error
    assert error is not None
    assert error.code == "quota_exceeded"
    assert 0 < redis_client.ttl(names.job_key(second)) <= 600


def test_model_that_is_none_is_that_of_the_queue(adoption: Adoption, context: Context, sender: Celery) -> None:
    record = adopted(adoption, context, send(sender, kwargs={**FIELDS, "model": None, "priority": None}))
    assert (record.queue, (record.payload or {})["model"]) == (QUEUE, "sim")


def test_limits_of_a_key_hold_for_messages_of_its_caller(
    adoption: Adoption,
    context: Context,
    settings: Settings,
    notifier: Notifier,
    sender: Celery,
    redis_client: redis.Redis,
) -> None:
    store = KeyStore(redis_client, settings)
    store.create("blog", max_queued=1, weight=4)
    redis_client.hset(names.API_KEYS, "damaged", "{broken")
    mine = {**FIELDS, "caller": "blog"}
    first, second = send(sender, kwargs=mine), send(sender, kwargs=mine)
    others = [send(sender, kwargs={**FIELDS, "caller": each}) for each in ("damaged", "nobody", "default")]
    assert "blog has reached its limit of 1 queued jobs" in refusal(adoption, notifier, sender, second)
    costs = [redis_client.hget(names.job_key(each), "cost") for each in (first, *others)]
    assert costs == ["0.25", None, None, None]


def test_whose_limits_are_asked_once_for_a_bunch_and_only_of_callers_who_have_a_name(
    adoption: Adoption, sender: Celery, redis_client: redis.Redis
) -> None:
    def asked() -> int:
        return int(redis_client.info("commandstats").get("cmdstat_hmget", {}).get("calls", 0))

    def adopt(*callers: str) -> int:
        for caller in callers:
            send(sender, kwargs={**FIELDS, "caller": caller})
        before = asked()
        adoption.run_once()
        return asked() - before

    of_submitting = adopt("default", "default", "default")
    assert adopt("one", "two", "one") == of_submitting + 1


def test_message_that_was_revoked_before_it_came_is_a_job_that_never_runs(
    adoption: Adoption, context: Context, notifier: Notifier, sender: Celery
) -> None:
    job_id = send(sender)
    with pytest.raises(JobNotFound):
        context.table.cancel(job_id, remembers=True)
    assert adopted(adoption, context, job_id).status is Status.CANCELED
    assert context.table.claim(job_id, owner="a worker", gives_way=True) == (None, [])
    notifier.run_once()
    assert AsyncResult(job_id, app=sender).state == "REVOKED"  # type: ignore[comparison-overlap]
    again = send(sender)
    assert adopted(adoption, context, again).status is Status.QUEUED


def purging(context: Context, settings: Settings) -> QueueControl:
    """As the command has it."""
    table, offer = context.table, context.dispatcher.offer
    return QueueControl(connect(settings), table, offer, settings, Revoking(table, offer, settings))


def test_purge_reaches_messages_that_are_no_jobs_yet_and_jobs_that_wait_for_their_time(
    adoption: Adoption, context: Context, settings: Settings, sender: Celery, redis_client: redis.Redis
) -> None:
    later = send(sender, countdown=3600)
    adopted(adoption, context, later)
    redis_client.lpush(QUEUE, b"\xff")
    sent = [send(sender, priority=priority) for priority in (0, 9)]
    assert purging(context, settings).cancel_all(QUEUE) == 3
    assert {context.table.get(job_id).status for job_id in (later, *sent)} == {Status.CANCELED}


def test_purge_reaches_messages_that_somebody_has_in_hand(
    adoption: Adoption, context: Context, settings: Settings, sender: Celery, redis_client: redis.Redis
) -> None:
    job_id = send(sender)
    with connect(settings, decodes=False) as client:
        (held,) = Inbox(client, settings, [QUEUE]).take(10)
    control = purging(context, settings)
    assert control.cancel_all("gpu.other") == 0
    assert control.cancel_all(QUEUE) == 1
    redis_client.zadd(names.HELD_UNTIL, {held.tag: 1})
    assert adopted(adoption, context, job_id).status is Status.CANCELED


def test_id_of_protocol_1_is_the_body_s(adoption: Adoption, context: Context, redis_client: redis.Redis) -> None:
    """Go's client has another id for the answer."""
    message = json.loads(envelope({"task": names.GENERATE_TASK, "id": "of-the-body", "args": [], "kwargs": FIELDS}))
    del message["headers"]
    message["properties"]["correlation_id"] = "of-the-answer"
    redis_client.lpush(QUEUE, json.dumps(message))
    assert adopted(adoption, context, "of-the-body").status is Status.QUEUED


@pytest.mark.parametrize(("lang", "state"), [("py", "STARTED"), (None, "PENDING"), ("js", "PENDING")])
def test_start_is_told_to_celery_itself_alone(
    adoption: Adoption, context: Context, sender: Celery, redis_client: redis.Redis, lang: str | None, state: str
) -> None:
    redis_client.lpush(QUEUE, envelope([[], FIELDS, {}], task=names.GENERATE_TASK, id="a-job", lang=lang))
    adopted(adoption, context, "a-job")
    claim = claim_job(context.table, "a-job")
    context.announcer.start()
    context.announcer.note_start(claim, "a worker")
    context.announcer.stop()
    assert AsyncResult("a-job", app=sender).state == state


def test_callbacks_in_a_group_have_ids_that_follow_from_the_job_s(
    adoption: Adoption, context: Context, sender: Celery, redis_client: redis.Redis
) -> None:
    def ids() -> list[str]:
        follow = group([sender.signature("theirs.one"), sender.signature("theirs.two")], app=sender)
        adopted(adoption, context, send(sender, task_id="a-job", link=follow))
        claim = claim_job(context.table, "a-job")
        (callback,) = claim.notifications[PROTOCOL]["callbacks"]
        return [each["options"]["task_id"] for each in (callback, *callback["kwargs"]["tasks"])]

    first = ids()
    assert len(set(first)) == 3
    redis_client.flushdb()
    assert ids() == first


def test_id_that_is_no_text_holds_nobody_up(
    adoption: Adoption, context: Context, sender: Celery, redis_client: redis.Redis
) -> None:
    redis_client.lpush(QUEUE, envelope([[], FIELDS, {}], task=names.GENERATE_TASK, id="\ud800"))
    job_id = send(sender)
    assert adoption.run_once() == 2
    assert context.table.get(job_id).status is Status.QUEUED
    assert context.table.get(names.job_id_of("\ud800")).status is Status.FAILED


def test_first_part_of_a_chord_is_known_as_the_first(adoption: Adoption, context: Context, sender: Celery) -> None:
    body = sender.signature("theirs.body")
    job_id = send(sender, group_id="a-group", group_index=0, chord=body)
    adopted(adoption, context, job_id)
    claim = claim_job(context.table, job_id)
    assert (claim.notifications[PROTOCOL]["group"], claim.notifications[PROTOCOL]["group_index"]) == ("a-group", 0)


def test_arguments_of_callbacks_that_celery_marks_reach_them_as_they_are(
    adoption: Adoption, context: Context, sender: Celery, notifier: Notifier, redis_client: redis.Redis
) -> None:
    args = (uuid.uuid4(), datetime(2026, 11, 29, 4, tzinfo=UTC), Decimal("0.10"), b"bytes")
    job_id = send(sender, link=sender.signature("theirs.done", args=args, queue="theirs"))
    adopted(adoption, context, job_id)
    claim = claim_job(context.table, job_id)
    context.table.finish(claim, Status.SUCCEEDED, data={})
    notifier.run_once()
    raw = redis_client.lindex("theirs", 0)
    assert raw is not None
    sent, _, _ = kombu_json.loads(base64.b64decode(json.loads(raw)["body"]))
    assert tuple(sent[1:]) == args


def test_chord_with_a_group_behind_a_part_of_it_has_its_body_called(
    adoption: Adoption, context: Context, sender: Celery, notifier: Notifier, redis_client: redis.Redis
) -> None:
    """Celery joins the results of such a header in the process that tells the end of the last of them."""

    def one() -> Any:
        return sender.signature(names.GENERATE_TASK, kwargs=FIELDS, options={"queue": QUEUE}, immutable=True)

    parts = [one(), chain(one(), group([one(), one()], app=sender), app=sender)]
    chord(parts, sender.signature("theirs.body"), app=sender).apply_async()
    for _ in range(2):
        assert adoption.run_once() == 2
        for job_id in redis_client.zrange(names.queued_key(QUEUE), 0, -1):
            claim = claim_job(context.table, str(job_id))
            context.table.finish(claim, Status.SUCCEEDED)
        assert notifier.run_once() == 2
    (message,) = [json.loads(each) for each in redis_client.lrange("celery", 0, -1)]
    assert message["headers"]["task"] == "theirs.body"
    first, grouped = json.loads(base64.b64decode(message["body"]))[0][0]
    assert {each["status"] for each in (first, *grouped)} == {"succeeded"}


def come_again(client: redis.Redis) -> None:
    """As if those that were put back had paused."""
    for tag in client.zrange(names.HELD_UNTIL, 0, -1):
        client.zadd(names.HELD_UNTIL, {str(tag): 0})


def test_a_message_with_a_picture_waits_for_the_store_and_holds_up_no_other(
    adoption: Adoption, context: Context, sender: Celery, own_store: Store, redis_client: redis.Redis
) -> None:
    inline = f"data:image/png;base64,{base64.b64encode(saved(Image.new('RGB', (8, 8)))).decode()}"
    own_store.is_away = True
    edit = send(sender, "imagemill.edit", kwargs={**FIELDS, "image": inline})
    other = send(sender)
    for _ in range(2 * Settings().max_attempts):  # It did no harm to any reader, so it is not refused.
        adoption.run_once()
        come_again(redis_client)
    assert context.table.get(other).status is Status.QUEUED
    with pytest.raises(JobNotFound):
        context.table.get(edit)
    adoption.run_once()
    later = send(sender)
    adoption.run_once()  # It is not there again at once, or nobody else would have a turn.
    assert context.table.get(later).status is Status.QUEUED
    own_store.is_away = False
    come_again(redis_client)
    adoption.run_once()
    record = context.table.get(edit)
    assert (record.kind, record.status) == ("edit", Status.QUEUED)
    assert (record.payload or {})["image"]["width"] == 8
    assert redis_client.hlen(names.HELD) == 0
