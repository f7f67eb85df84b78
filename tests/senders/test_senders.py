"""Whoever speaks Celery's protocols is heard, and hears, in his own way: other versions, and other languages."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.outside import QUEUE
from tests.blackbox.system import System, until
from tests.environments import NotMade
from tests.senders.by_hand import Client, Go, Php
from tests.senders.environments import CELERY, modules_of_node, python_with_celery

HERE = Path(__file__).parent
NODE, NPM = shutil.which("node"), shutil.which("npm")

EXPECTED = {
    "success": ("SUCCESS", "succeeded"),
    "failure": ("FAILURE", "num_inference_steps"),
    "revoked": (
        "REVOKED",
        r"canceled|TaskRevokedError: revoked",
    ),  # The latter by the sender's own worker, if it is 5.7.
    "expired": ("REVOKED", "expired"),
    "chorded_with_a_failure": ("FAILURE", "num_inference_steps"),
}


@contextmanager
def running(system: System, command: list[str], protocol: int, **env: str) -> Iterator[Iterator[dict[str, Any]]]:
    """What a sender's program prints, a line at a time; at the end it has to have ended well."""
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("IMAGEMILL_", "PYTHON"))},
        "SENDER_URL": system.redis_server.url,
        "SENDER_QUEUE": QUEUE,
        "SENDER_PROTOCOL": str(protocol),
        **env,
    }
    piped = {"stdout": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, cwd=HERE, env=env, **piped) as program:  # type: ignore[call-overload]
        try:
            assert program.stdout is not None
            yield (json.loads(line) for line in program.stdout)
            assert program.wait() == 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)  # What it started, too.


def check(line: Mapping[str, Any]) -> None:
    if "expected" in line:
        assert (line["state"], line["result"]) == ("SUCCESS", line["expected"]), line
    else:
        state, words = EXPECTED[line["what"]]
        assert line["state"] == state, line
        assert re.search(words, str(line["result"])), line


@pytest.mark.parametrize("protocol", [2, 1])
@pytest.mark.parametrize("version", CELERY)
def test_celery_of_a_version(system: System, version: str, protocol: int) -> None:
    python = python_with_celery(version)
    queue = f"theirs-{version}-{protocol}"
    with running(system, [str(python), "by_celery.py"], protocol, SENDER_OWN_QUEUE=queue) as lines:
        answers = list(lines)
    for each in answers:
        check(each)
    assert len(answers) == 10


@pytest.mark.skipif(NODE is None or NPM is None, reason="there is no Node with npm here")
@pytest.mark.parametrize("protocol", [2, 1])
def test_node(system: System, protocol: int) -> None:
    try:
        modules = modules_of_node()
    except NotMade as exc:
        pytest.skip(str(exc))  # A machine may reach Python's packages alone.
    with running(system, [str(NODE), "by_node.js"], protocol, SENDER_MODULES=str(modules)) as lines:
        ended = []
        for line in lines:
            if "sent" not in line:
                ended.append(line)
            elif line["what"] == "revoked":  # The client knows no way to ask for it.
                cancel(system, line["sent"])
    for each in ended:
        check(each)
    assert len(ended) == 3


def cancel(system: System, job_id: str) -> None:
    until("it can be canceled", lambda: system.http("DELETE", f"/v1/jobs/{job_id}").status == 200)


@pytest.mark.parametrize("kind", [Go, Php])
def test_messages_as_clients_in_other_languages_write_them(system: System, kind: type[Client]) -> None:
    client = kind(system.redis(), QUEUE)
    good = client.send(prompt="a blue ring", num_inference_steps=3)
    wrong = client.send(prompt="a blue ring", num_inference_steps=0)
    long = client.send(prompt="a blue ring", num_inference_steps=1000)
    until("it runs", lambda: system.redis().hget(f"imagemill:job:{long}", "stage") == "generate")
    cancel(system, long)
    made, failed, revoked = (client.wait(each) for each in (good, wrong, long))
    assert (made["status"], made["result"]["id"]) == ("SUCCESS", good)
    assert failed["status"] == "FAILURE"
    assert "num_inference_steps" in str(failed["result"])
    assert revoked["status"] == "REVOKED"


def test_what_clients_in_other_languages_sent_can_be_purged(system: System) -> None:
    redis = system.redis()
    assert system.cli("queue", "pause", QUEUE).returncode == 0
    waiting = [(client, client.send(prompt="a star")) for client in (Go(redis, QUEUE), Php(redis, QUEUE))]
    assert system.cli("queue", "purge", QUEUE, "--yes").returncode == 0
    assert system.cli("queue", "resume", QUEUE).returncode == 0
    assert [client.wait(task_id)["status"] for client, task_id in waiting] == ["REVOKED", "REVOKED"]
