"""Prompts belong to those who send them: they stand in no worker's log at the default level."""

from __future__ import annotations

import json

import redis

from jobs import names
from ops.process import wait_until
from producer import Client
from tests.blackbox.outside import standing
from tests.system.conftest import DEADLINE_S
from tests.system.test_bad_input import QUEUE, envelope

SECRET = "unspeakable"
LONG = f"{SECRET} " * 3_000

BAD_MESSAGES = {
    "unknown task": envelope(f'[[],{{"prompt":"{SECRET}"}},{{}}]', task="no.such.task", kwargsrepr=SECRET),
    "no task": envelope(f'[[],{{"prompt":"{SECRET}"}},{{}}]', task=None, argsrepr=SECRET),
    "the first version of Celery's messages": json.dumps(
        {**json.loads(envelope(f'{{"id":"one","args":["{SECRET}"]}}')), "headers": {}}
    ),
    "prompt that is too long": envelope(f'[[],{{"prompt":"{LONG}"}},{{}}]', id="too-long"),
    "unknown field": envelope(f'[[],{{"prompt":"{SECRET}","flavour":"{SECRET}"}},{{}}]', id="flavour"),
    "prompt as an argument": envelope(f'[["{SECRET}"],{{}},{{}}]', id="argument"),
    "half a surrogate pair": envelope(f'[[],{{"prompt":"{SECRET} \\ud800"}},{{}}]', id="surrogate"),
    "bytes that are no text": envelope(f'[[],{{"prompt":"{SECRET}"}},{{}}]').replace("utf-8", "no-such-encoding"),
    "pickle": envelope(SECRET, content_type="application/x-python-serialize"),
    "cut off": envelope(f'[[],{{"prompt":"{SECRET}'),
    "no call": envelope(f'"{SECRET}"'),
    "callbacks that are none": envelope(f'[[],{{"prompt":"{SECRET}"}},{{"callbacks":"{SECRET}"}}]', id="callbacks"),
    "expiry that is no time": envelope(f'[[],{{"prompt":"{SECRET}"}},{{}}]', expires="yesterday"),
    "no message": f'{{"body": "{SECRET}',
    "no body": f'"{SECRET}"',
}
REFUSED = ["too-long", "flavour", "argument"]


def test_prompts_stand_in_no_log(system: Client, worker_log: list[str], system_redis: redis.Redis) -> None:
    before = len(worker_log)
    for message in BAD_MESSAGES.values():
        system_redis.lpush(QUEUE, message)
    job = system.submit(
        f"{SECRET} circle", negative_prompt=SECRET, guidance_scale=1, metadata={"of": SECRET}, num_inference_steps=1
    )
    last = system.submit(f"{SECRET} square", num_inference_steps=1)
    assert {job.wait(DEADLINE_S).status, last.wait(DEADLINE_S).status} == {"succeeded"}
    assert wait_until(
        lambda: all(any(each.id in line for line in worker_log[before:]) for each in (job, last)), DEADLINE_S
    )
    assert wait_until(lambda: standing(system_redis, QUEUE) == 0, DEADLINE_S)
    refused = [json.loads(system_redis.hget(names.job_key(each), "error") or "{}") for each in REFUSED]
    assert [each.get("code") for each in refused] == ["invalid_request"] * len(REFUSED)
    said = [line for line in worker_log[before:] if SECRET in line]
    assert said == []
