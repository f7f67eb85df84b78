"""A job whose model no living worker serves: taken, warned about or refused, at every door, as the operator sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
import redis
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from jobs.errors import NotServed
from jobs.fleet.fleet import Fleet, WorkerReport
from jobs.process.settings import Settings
from producer import Client
from producer.api.app import create_app
from producer.cli.commands import app
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store

BODY = {"prompt": "a red circle"}
WARNING = "no worker serves model 'shapes-flow' at the moment: the job waits until one does"
REFUSAL = "no worker serves model 'shapes-flow' now: nothing was queued"

Policy = Literal["allow", "warn", "refuse"]
MakeApi = Callable[[Policy], TestClient]


def with_policy(settings: Settings, policy: Policy) -> Settings:
    return settings.model_copy(update={"unserved_models": policy})


@pytest.fixture
def make_api(settings: Settings, storage_settings: S3Settings, store: S3Store) -> Iterator[MakeApi]:
    opened: list[TestClient] = []

    def make(policy: Policy) -> TestClient:
        made = TestClient(create_app(with_policy(settings, policy), storage_settings), base_url="http://127.0.0.1")
        opened.append(made.__enter__())
        return opened[-1]

    yield make
    for each in opened:
        each.__exit__(None, None, None)


@pytest.fixture
def worker(redis_client: redis.Redis, settings: Settings) -> None:
    Fleet(redis_client, settings).report(WorkerReport(name="worker@a", state="starting", models=("shapes-flow",)))


def jobs(client: redis.Redis) -> int:
    return len(client.keys("imagemill:job:*"))


@pytest.mark.parametrize(("policy", "warnings"), [("allow", []), ("warn", [WARNING])])
def test_http_takes_it_and_says_so(make_api: MakeApi, policy: Policy, warnings: list[str]) -> None:
    api = make_api(policy)
    for params, status in (({}, 202), ({"dry_run": "true"}, 200)):
        answer = api.post("/v1/jobs", json=BODY, params=params)
        assert (answer.status_code, answer.json()["warnings"]) == (status, warnings)
    batch = api.post("/v1/jobs/batch", content=json.dumps(BODY), headers={"Content-Type": "application/jsonl"})
    assert json.loads(batch.text).get("warnings", []) == warnings
    asked = api.get(f"/v1/jobs/{json.loads(batch.text)['id']}").json()
    assert asked["warnings"] == []


def test_http_refuses_it(make_api: MakeApi, redis_client: redis.Redis) -> None:
    api = make_api("refuse")
    for path, params in (("/v1/jobs", {}), ("/v1/jobs", {"dry_run": "true"}), ("/v1/images/generations", {})):
        answer = api.post(path, json=BODY, params=params)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (503, "model_not_available")
        assert error["message"].startswith(REFUSAL)
        assert answer.headers["retry-after"]
    batch = api.post("/v1/jobs/batch", content=json.dumps(BODY), headers={"Content-Type": "application/jsonl"})
    assert json.loads(batch.text)["error"]["code"] == "model_not_available"
    assert jobs(redis_client) == 0


@pytest.mark.parametrize("policy", ["warn", "refuse"])
def test_model_that_somebody_serves_or_is_about_to_is_nothing_to_tell_of(
    make_api: MakeApi, worker: None, policy: Policy
) -> None:
    answer = make_api(policy).post("/v1/jobs", json=BODY)
    assert (answer.status_code, answer.json()["warnings"]) == (202, [])


@pytest.mark.parametrize("policy", ["allow", "warn", "refuse"])
def test_model_that_there_is_not_is_refused_by_its_name_as_ever(make_api: MakeApi, policy: Policy) -> None:
    answer = make_api(policy).post("/v1/jobs", json={**BODY, "model": "dreams"})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "model")


def test_python_client_is_refused_before_anything_is_queued(
    settings: Settings, storage_settings: S3Settings, redis_client: redis.Redis
) -> None:
    client = Client(with_policy(settings, "refuse"), storage_settings)
    with pytest.raises(NotServed, match=REFUSAL):
        client.submit(**BODY)
    with pytest.raises(NotServed) as caught:
        client.submit_many([BODY, BODY])
    assert caught.value.__notes__ == ["in request 0"]
    assert jobs(redis_client) == 0


def test_python_client_is_warned_in_the_log(
    settings: Settings, storage_settings: S3Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Client(with_policy(settings, "warn"), storage_settings)
    for _ in range(3):
        client.submit(**BODY)
    client.submit_many([BODY] * 3)
    assert capsys.readouterr().out.count(WARNING) == 1  # In a while, however much is submitted.


def run(monkeypatch: pytest.MonkeyPatch, settings: Settings, storage: S3Settings, policy: Policy, *args: str) -> Any:
    monkeypatch.setenv("IMAGEMILL_REDIS_URL", settings.redis_url)
    monkeypatch.setenv("IMAGEMILL_S3_ENDPOINT_URL", storage.endpoint_url)
    monkeypatch.setenv("IMAGEMILL_UNSERVED_MODELS", policy)
    return CliRunner().invoke(app, ["submit", *args])


@pytest.mark.parametrize("is_file", [False, True])
def test_command_line_says_so_beside_its_answer(
    settings: Settings,
    storage_settings: S3Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
    is_file: bool,
) -> None:
    (tmp_path / "prompts.txt").write_text("a red circle\na blue star\n")
    args = ["--file", str(tmp_path / "prompts.txt"), "--detach"] if is_file else [BODY["prompt"]]
    warned = run(monkeypatch, settings, storage_settings, "warn", *args)
    assert warned.exit_code == 0
    assert warned.stderr.count(f"imagemill: warning: {WARNING}") == 1
    assert WARNING not in warned.stdout
    assert WARNING not in run(monkeypatch, settings, storage_settings, "allow", *args).stderr


def test_command_line_is_refused(
    settings: Settings, storage_settings: S3Settings, monkeypatch: pytest.MonkeyPatch, redis_client: redis.Redis
) -> None:
    refused = run(monkeypatch, settings, storage_settings, "refuse", BODY["prompt"])
    assert refused.exit_code == 3
    assert REFUSAL in refused.stderr
    assert jobs(redis_client) == 0
