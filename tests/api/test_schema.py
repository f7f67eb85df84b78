"""
What the API serves is what its OpenAPI document says, whatever comes: schemathesis makes requests from the document,
right and wrong ones, follows what answers lead to, and holds each answer against it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx2 as httpx
import pytest
import redis

from jobs.process.settings import Settings
from ops.process import wait_until
from ops.programs import Api
from ops.settings import CHECKOUT
from producer.keys.store import KeyStore

CONFIG = Path(__file__).with_name("schemathesis.toml")
SEED = "20261124"
DEADLINE_S = 600


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves files where it runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))


def fuzz(api: Api, log: list[str], *options: str, examples: int) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
    how = ["--seed", SEED, "--max-examples", str(examples), "--continue-on-failure", "--no-color"]
    command += [f"{api.url}/openapi.json", *how, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in log if "bug" in line or "Traceback" in line] == []


def test_without_keys_every_answer_is_as_documented(process: Api, log: list[str]) -> None:
    # Whoever reaches the API may do everything then, with a key or without.
    fuzz(process, log, "--exclude-checks", "ignored_auth", examples=40)


def test_with_a_key_every_answer_is_as_documented(
    process: Api, log: list[str], redis_client: redis.Redis, settings: Settings
) -> None:
    token, _ = KeyStore(redis_client, settings).create("fuzz")
    assert wait_until(lambda: not is_open(process), 60)
    fuzz(process, log, "--header", f"Authorization: Bearer {token}", examples=40)


def test_without_the_key_that_is_asked_for_every_answer_is_as_documented(
    process: Api, log: list[str], redis_client: redis.Redis, settings: Settings
) -> None:
    KeyStore(redis_client, settings).create("other")
    assert wait_until(lambda: not is_open(process), 60)
    fuzz(process, log, "--phases", "examples,coverage,fuzzing", examples=20)


def is_open(api: Api) -> bool:
    return httpx.get(f"{api.url}/v1/models", trust_env=False, timeout=60).status_code == 200
