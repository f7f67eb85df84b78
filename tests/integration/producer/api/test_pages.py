"""Web pages that ask from a browser: none unless it is said which (CORS)."""

from __future__ import annotations

from typing import Any

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from jobs.errors import InvalidConfiguration
from jobs.process.settings import Settings
from jobs.table.reader import JobReader
from producer import Client
from producer.api.settings import ApiSettings, load_api_settings
from producer.keys.store import KeyStore
from tests.integration.producer.api.conftest import DEADLINE_S
from tests.integration.producer.api.test_process import run

PAGE, OTHER = "https://app.example.org", "https://evil.example.org"
ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
ALLOWED = "access-control-allow-origin"


@pytest.fixture
def api_settings(request: pytest.FixtureRequest) -> ApiSettings:
    return ApiSettings(cors_origins=getattr(request, "param", (PAGE, "http://localhost:3000")), require_key=True)


@pytest.fixture
def key(redis_client: Any, settings: Settings) -> dict[str, str]:
    return {"Authorization": f"Bearer {KeyStore(redis_client, settings).create('blog')[0]}"}


def test_preflight_is_answered_without_a_key_to_named_pages_alone(api: TestClient) -> None:
    for path in ("/v1/jobs", "/v1/jobs/one", "/v1/images/generations"):
        answer = api.options(path, headers={"Origin": PAGE, **ASKED})
        assert (answer.status_code, answer.headers[ALLOWED]) == (200, PAGE)
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert answer.headers["access-control-allow-headers"] == ASKED["Access-Control-Request-Headers"]
        assert ALLOWED not in api.options(path, headers={"Origin": OTHER, **ASKED}).headers


def test_every_answer_may_be_read_refusals_and_bugs_as_well(
    api: TestClient, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = {"Origin": PAGE}
    answers = [
        api.get("/v1/jobs", headers=page | key),
        api.get("/v1/jobs", headers=page),
        api.get("/v1/nothing", headers=page),
        api.post("/v1/jobs", headers=page | key, json={}),
        api.put("/v1/jobs", headers=page | key),
        api.post("/v1/images/generations", headers=page | key, json={}),
    ]
    monkeypatch.delattr(JobReader, "list_jobs")
    answers.append(api.get("/v1/jobs", headers=page | key))
    assert [each.status_code for each in answers] == [200, 401, 404, 422, 405, 400, 500]
    for each in answers:
        assert (each.headers[ALLOWED], each.headers["vary"]) == (PAGE, "Origin")
        assert "Retry-After" in each.headers["access-control-expose-headers"]
    assert ALLOWED not in api.get("/v1/jobs", headers={"Origin": OTHER, **key}).headers


def test_stream_may_be_read(replica: str, key: dict[str, str], client: Client) -> None:
    job = client.submit("a red circle", caller="blog")
    url, headers = f"{replica}/v1/jobs/{job.id}/events", {"Origin": PAGE, **key}
    with httpx.stream("GET", url, headers=headers, trust_env=False, timeout=DEADLINE_S) as answer:
        assert (answer.status_code, answer.headers[ALLOWED]) == (200, PAGE)


@pytest.mark.parametrize("api_settings", [("*",)], indirect=True)
def test_all_pages_ask_with_a_key_and_never_with_what_a_browser_adds_by_itself(
    api: TestClient, key: dict[str, str]
) -> None:
    answer = api.get("/v1/jobs", headers={"Origin": OTHER, "Cookie": "a=b", **key})
    assert (answer.status_code, answer.headers[ALLOWED]) == (200, "*")
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("api_settings", [()], indirect=True)
def test_no_page_may_ask_unless_told_otherwise(api: TestClient) -> None:
    assert api.options("/v1/jobs", headers={"Origin": PAGE, **ASKED}).status_code == 204
    assert [name for name in api.get("/health", headers={"Origin": PAGE}).headers if name.startswith("access")] == []


def test_origins_are_read_from_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_API_CORS_ORIGINS", f"{PAGE}, http://localhost:3000")
    assert load_api_settings().cors_origins == (PAGE, "http://localhost:3000")
    monkeypatch.setenv("IMAGEMILL_API_CORS_ORIGINS", "")
    assert load_api_settings().cors_origins == ()


@pytest.mark.parametrize(
    "told",
    [f"*,{PAGE}", f"{PAGE}/", f"{PAGE}/app", "app.example.org", "https://*.example.org", "HTTPS://A.org", "null"],
)
def test_what_no_browser_sends_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv("IMAGEMILL_API_CORS_ORIGINS", told)
    with pytest.raises(InvalidConfiguration, match=r"^IMAGEMILL_API_CORS_ORIGINS"):
        load_api_settings()


def test_api_without_keys_is_not_opened_to_all_pages(env: dict[str, str]) -> None:
    done = run({**env, "IMAGEMILL_API_CORS_ORIGINS": "*"}, "--port", "0")
    assert done.returncode == 2, done.stderr
    assert "cors_origins: * lets any web page ask" in done.stderr
