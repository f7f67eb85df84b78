"""`./imagemill api` as a process: where it listens, what it says, how it stops."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import httpx2 as httpx
import pytest
import redis

from jobs.process.settings import Settings
from ops.process import wait_until
from ops.programs import Api
from producer import Client
from producer.keys.store import KeyStore
from tests.integration.producer.api.conftest import CHECKOUT, DEADLINE_S
from tests.integration.producer.api.sse import listening


def run(env: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ops.cli", "api", *args]
    return subprocess.run(command, env=env, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=60)


def test_it_says_where_it_listens_and_to_whom_it_is_open(process: Api, log: list[str]) -> None:
    assert wait_until(lambda: any("there is no API key: listening on" in line for line in log), DEADLINE_S)
    assert any(f"address={process.url}" in line for line in log)


def test_it_stops_in_order_though_somebody_listens(process: Api, log: list[str], client: Client) -> None:
    job = client.submit("a red circle")
    with listening(f"{process.url}/v1/jobs/{job.id}/events") as told:
        os.kill(process.pid or 0, signal.SIGTERM)
        assert list(told) == []
    assert wait_until(lambda: process.exit_code is not None, DEADLINE_S)
    assert process.exit_code == 0
    assert not any("Traceback" in line or "error" in line for line in log), log


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["--host", "0.0.0.0", "--port", "0"], "there is no API key yet"),  # noqa: S104
        (["--host", "no.such.host.invalid", "--port", "0"], "there is no API key yet"),
        (["--port", "70000"], "IMAGEMILL_API_PORT"),
    ],
)
def test_it_does_not_start_where_it_should_not_listen(env: dict[str, str], args: list[str], reason: str) -> None:
    done = run(env, *args)
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_it_says_that_its_port_is_taken(env: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(env, "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "IMAGEMILL_API_PORT" in done.stderr


def test_misspelt_setting_is_refused(env: dict[str, str]) -> None:
    done = run({**env, "IMAGEMILL_API_HOSTS": "x"})
    assert (done.returncode, "IMAGEMILL_API_HOSTS: unknown setting" in done.stderr) == (2, True)


def test_made_key_closes_it_while_it_runs(process: Api, redis_client: redis.Redis, settings: Settings) -> None:
    def status() -> int:
        return httpx.get(f"{process.url}/v1/models", trust_env=False, timeout=DEADLINE_S).status_code

    assert status() == 200
    KeyStore(redis_client, settings).create("blog")
    assert wait_until(lambda: status() == 401, DEADLINE_S)
