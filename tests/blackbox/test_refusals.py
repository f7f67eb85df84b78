"""What no job can be made of: its sender is told why, whatever he sent, and nobody else is held up."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from tests.blackbox.outside import GENERATE, PROMPT, QUEUE, Result
from tests.blackbox.system import PATIENCE_S, Command, System, simulated, until

Send = Callable[[Celery, redis.Redis], str]  # the id of what was sent

SIGNATURES = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One for all: each that is sent must leave it as it was."""
    folder: Path = tmp_path_factory.mktemp("system")
    with System(folder, folder / "cache", simulated(row_s=0.001)) as system:
        yield system


@pytest.fixture(scope="module")
def worker(system: System) -> Command:
    return system.worker(env={"IMAGEMILL_RESULT_BACKEND_URL": system.redis_server.url})


def by_celery(**options: Any) -> Send:
    def send(app: Celery, _client: redis.Redis) -> str:
        return str(app.send_task(**{"name": GENERATE, "kwargs": {"prompt": PROMPT}, "queue": QUEUE, **options}).id)

    return send


def by_hand(body: Any = None, *, text: bytes | None = None, head: dict[str, Any] | None = None) -> Send:
    """A message in kombu's envelope: `body` as JSON, or this `text`."""

    def send(_app: Celery, client: redis.Redis) -> str:
        task_id = f"by-hand-{client.incr('tests:sent')}"
        encoded = json.dumps(body).encode() if text is None else text
        message = {
            "body": base64.b64encode(encoded).decode(),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {"task": GENERATE, "id": task_id, "lang": "py", **(head or {})},
            "properties": {
                "body_encoding": "base64",
                "correlation_id": task_id,
                "delivery_info": {"exchange": "", "routing_key": QUEUE},
                "delivery_tag": task_id,
            },
        }
        client.lpush(QUEUE, json.dumps(message))
        return task_id

    return send


def nested(levels: int) -> bytes:
    """A request whose metadata are so deep."""
    return b'[[], {"prompt": "a", "metadata": ' + b'{"a":' * levels + b"1" + b"}" * levels + b"}, {}]"


def following(**fields: Any) -> Send:
    return by_hand([[], {"prompt": PROMPT}, {**SIGNATURES, **fields}])


GOOD = [[], {"prompt": PROMPT}, SIGNATURES]
REFUSED: dict[str, tuple[Send, str]] = {
    "pickle": (by_celery(serializer="pickle"), "content_type: .*only JSON is read"),
    "yaml": (by_celery(serializer="yaml"), "content_type: .*only JSON is read"),
    "a compression that there is not": (
        by_hand(GOOD, head={"compression": "application/x-snappy"}),
        "compression: is 'application/x-snappy'",
    ),
    "a null in place of the keyword arguments": (by_hand([[], None, SIGNATURES]), "kwargs: is not a mapping"),
    "a list in place of the keyword arguments": (by_hand([[], [PROMPT], SIGNATURES]), "kwargs: is not a mapping"),
    "a body without its third element": (by_hand([[], {"prompt": PROMPT}]), "body: is not a task call"),
    "a body that is a number": (by_hand(5), "body: is not a task call"),
    "a body that is no JSON": (by_hand(text=b"{"), "body: cannot be decoded"),
    "a body that is not what it is said to be": (by_hand(GOOD, head={"compression": "zlib"}), "body: cannot be"),
    "400 nested dictionaries": (by_hand(text=nested(400)), "nested|metadata"),
    "500 nested dictionaries": (by_hand(text=nested(500)), "nested|metadata"),
    "100,000 nested dictionaries": (by_hand(text=nested(100_000)), "cannot be decoded|nested"),
    "arguments by their place": (by_celery(args=[PROMPT]), "args: .*keyword arguments"),
    "a task that there is not": (by_celery(name="imagemill.paint"), r"there is no task 'imagemill\.paint'"),
    "an id that is no job's": (by_celery(task_id="my picture"), "id: use letters"),
    "an id that is too long": (by_celery(task_id="a" * 200), "id: use letters"),
    "a moment that is none": (by_hand(GOOD, head={"eta": "soon"}), "eta: is not a time"),
    "a moment beyond all calendars": (by_hand(GOOD, head={"expires": 1e300}), "expires: is not a time"),
    "a callback that is none": (following(callbacks=[5]), "callbacks: is not the signature"),
    "a callback without a task": (following(callbacks=[{"options": {}}]), "callbacks: is not the signature"),
    "a chain that is none": (following(chain="next"), "chain: is not the signature"),
    "a chord that is a list": (following(chord=[{"task": "theirs.body"}]), "chord: is not the signature"),
    "a field that there is not": (by_celery(kwargs={"prompt": PROMPT, "colour": "red"}), "colour: "),
}
READ: dict[str, Send] = {
    "compressed by zlib": by_celery(compression="zlib"),
    "compressed by bzip2": by_celery(compression="bzip2"),
    "compressed by hand": by_hand(text=zlib.compress(json.dumps(GOOD).encode()), head={"compression": "gzip"}),
    "a time limit of a client's own": by_hand(GOOD, head={"timelimit": {"hard": 3}}),
    "a time limit without end": by_hand(GOOD, head={"timelimit": [1e308 * 10, None]}),
    "headers that nobody knows": by_hand(GOOD, head={"trace": {"a": [1]}, "get": 5, "update": None}),
}


@pytest.mark.parametrize("sent", REFUSED)
def test_sender_is_told_why_no_job_is_made_of(system: System, worker: Command, sent: str) -> None:
    send, sentence = REFUSED[sent]
    app = system.celery()
    task: Result = app.AsyncResult(send(app, system.redis()))
    with pytest.raises(Exception, match=sentence):
        task.get(timeout=PATIENCE_S)
    assert task.state == "FAILURE"
    assert_goes_on(system, worker)


@pytest.mark.parametrize("sent", READ)
def test_job_is_made_of(system: System, worker: Command, sent: str) -> None:
    app = system.celery()
    task: Result = app.AsyncResult(READ[sent](app, system.redis()))
    assert task.get(timeout=PATIENCE_S)["status"] == "succeeded"
    assert_goes_on(system, worker)


@pytest.mark.parametrize("junk", ["", "5", "{", "[]", '{"body": 5}', "[" * 100_000, b"\xff\x00"])
def test_what_says_not_whose_it_is_holds_nobody_up(system: System, worker: Command, junk: str | bytes) -> None:
    client = system.redis()
    client.lpush(QUEUE, junk)
    assert_goes_on(system, worker)
    until("it is gone", lambda: client.llen(QUEUE) == 0)


def assert_goes_on(system: System, worker: Command) -> None:
    """What is sent afterwards is done, and nothing was written that an operator would have to look into."""
    app = system.celery()
    task: Result = app.AsyncResult(by_celery()(app, system.redis()))
    assert task.get(timeout=PATIENCE_S)["status"] == "succeeded"
    assert not worker.printed("Traceback")
