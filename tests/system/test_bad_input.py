"""Bad input is refused where it comes in, by name and with a sentence, and no message stops a worker."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery

from jobs.errors import InvalidRequest
from jobs.table.states import Status
from ops.process import wait_until
from ops.programs import Program
from producer import Client
from tests.blackbox.outside import standing
from tests.celery_sender import celery_sender
from tests.system.conftest import DEADLINE_S, RunCli

QUEUE = "gpu.shapes-flow"

BAD_FIELDS: list[tuple[str, dict[str, Any]]] = [
    ("prompt", {"prompt": ""}),
    ("prompt", {"prompt": "x" * 100_000}),
    ("width", {"width": 0}),
    ("n", {"n": 0}),
    ("guidance_scale", {"guidance_scale": float("nan")}),
    ("flavour", {"flavour": "sweet"}),
    ("task", {"task": "sweet"}),
    ("model", {"model": "no-such-model"}),
    ("deadline", {"deadline": -1}),
    ("scheduler", {"scheduler": "no-such-scheduler"}),
]


@pytest.fixture
def plain_celery(stack_env: dict[str, str]) -> Iterator[Celery]:
    """A service that has nothing but Celery."""
    with celery_sender(stack_env["IMAGEMILL_REDIS_URL"]) as app:
        yield app


@pytest.mark.parametrize(("field", "fields"), BAD_FIELDS)
def test_client_refuses_with_the_name_of_the_field(system: Client, field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        system.submit_many([{"prompt": "a red circle", **fields}])
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("field", "args"),
    [
        ("prompt", [""]),
        ("output.crop", ["x", "--crop", "wide"]),
        *(
            pytest.param(field, args, marks=pytest.mark.long)
            for field, args in (
                ("width", ["x", "--width", "0"]),
                ("n", ["x", "--n", "0"]),
                ("guidance_scale", ["x", "--guidance-scale", "nan"]),
                ("model", ["x", "--model", "no-such-model"]),
                ("deadline", ["x", "--deadline", "-1"]),
            )
        ),
    ],
)
def test_command_line_refuses_with_the_name_of_the_field(
    stack_env: dict[str, str], cli: RunCli, field: str, args: list[str]
) -> None:
    done = cli("submit", *args, "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["field"] == field
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("field", "fields"), BAD_FIELDS)
def test_plain_celery_message_with_bad_arguments_becomes_a_failed_job(
    system: Client, plain_celery: Celery, field: str, fields: dict[str, Any]
) -> None:
    kwargs = {"prompt": "a red circle", **fields}
    sent = plain_celery.send_task("imagemill.generate", kwargs=kwargs, queue=QUEUE)
    with pytest.raises(Exception, match=f"{field}: ") as caught:
        sent.get(timeout=DEADLINE_S)
    record = system.status(sent.id)
    assert record.status is Status.FAILED
    assert record.error is not None
    assert record.error.message.startswith(f"{field}: ")
    assert record.error.code == ("model_not_available" if field == "model" else "invalid_request")
    assert type(caught.value).__name__ == "JobFailed"


def test_plain_celery_task_gives_the_finished_job_under_its_own_id(system: Client, plain_celery: Celery) -> None:
    kwargs = {"prompt": "a yellow star left of a cyan ring on a black background", "num_inference_steps": 2}
    sent = plain_celery.send_task("imagemill.generate", kwargs=kwargs, queue=QUEUE)
    finished = sent.get(timeout=DEADLINE_S)
    assert finished["id"] == sent.id
    assert finished["status"] == "succeeded"
    assert system.job(sent.id).images()[0].open().size == (128, 128)


HEADERS = {"lang": "py", "task": "imagemill.generate", "id": "b1", "root_id": "b1", "parent_id": None, "group": None}


def envelope(body: str = '[[],{"prompt":"x"},{}]', content_type: str = "application/json", **headers: Any) -> str:
    """A message as kombu writes it to Redis, with a body and headers of one's own."""
    properties = {
        "delivery_info": {"exchange": "", "routing_key": QUEUE},
        "delivery_tag": "7",
        "body_encoding": "base64",
        "priority": 0,
    }
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": content_type,
            "headers": {**HEADERS, **headers},
            "properties": properties,
        }
    )


HOSTILE: dict[str, str | bytes] = {
    "unknown task": envelope(task="no.such.task"),
    "pickle": envelope("x", content_type="application/x-python-serialize"),
    "body that is cut off": envelope("[[],{"),
    "body that is a number": envelope("5"),
    "body that is null": envelope("null"),
    "kwargs that are a list": envelope("[[],[],{}]"),
    "args that are an object": envelope('[{"a":1},{},{}]'),
    "body nested 900 deep": envelope('[[],{"prompt":' + "[" * 900 + "]" * 900 + "},{}]"),
    "body nested 100,000 deep": envelope('[[],{"prompt":' + "[" * 100_000 + "]" * 100_000 + "},{}]"),
    "half a surrogate pair": envelope('[[],{"prompt":"\\ud800"},{}]'),
    "not a number as seed": envelope('[[],{"prompt":"x","seed":NaN},{}]'),
    "callbacks that are none": envelope('[[],{"prompt":""},{"callbacks":5,"chord":"x"}]'),
    "id that is a number": envelope(id=5),
    "id that is a list": envelope(id=[1]),
    "id that is a path": envelope(id="../../etc:*\u0000"),
    "eta that is no time": envelope(eta="yesterday"),
    "expiry that is no time": envelope(expires="yesterday"),
    "time limit that is no pair": envelope(timelimit="a"),
    "a job that is not there": envelope(task="imagemill.run", id="no-such-job"),
    "no headers": json.dumps({**json.loads(envelope()), "headers": {}}),
    "no properties": json.dumps({"body": "", "headers": {}}),
    "no delivery tag": json.dumps({**json.loads(envelope()), "properties": {"delivery_info": {}}}),
    "a list": "[]",
    "a number": "5",
    "an empty object": "{}",
    "null": "null",
    "bytes": b"\xff\xfe garbage",
}


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param(list(HOSTILE.values()), id="all"),
        *(pytest.param([each], id=name, marks=pytest.mark.long) for name, each in HOSTILE.items()),
    ],
)
def test_worker_survives_any_message(
    system: Client, worker: Program, stack_env: dict[str, str], messages: list[str | bytes]
) -> None:
    with redis.Redis.from_url(stack_env["IMAGEMILL_REDIS_URL"]) as client:
        client.lpush(QUEUE, *messages)
        assert wait_until(lambda: standing(client, QUEUE) == 0, DEADLINE_S)
    # As many as the worker has slots: a message that takes one and never gives it back is found out as well.
    jobs = system.submit_many([{"prompt": "a red circle", "num_inference_steps": 1}] * 3)
    assert [job.wait(DEADLINE_S).status for job in jobs] == [Status.SUCCEEDED] * 3
    assert worker.exit_code is None
