"""Whether it is alive, and whether it can serve."""

from __future__ import annotations

import re

from fastapi.testclient import TestClient

from jobs.process.settings import Settings
from jobs.table.states import Status
from ops.process import free_port
from producer.api.app import create_app
from storage.backends.s3.settings import S3Settings

NOWHERE = "127.0.0.1"


def test_ready_when_redis_answers(api: TestClient) -> None:
    assert api.get("/health").json() == {"status": "ok"}
    answer = api.get("/ready")
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "ready", "redis": "ok", "storage": "ok", "workers": {}, "unread": {}},
    )


def test_ready_without_image_store(settings: Settings) -> None:
    storage = S3Settings(endpoint_url=f"http://{NOWHERE}:{free_port()}", bucket="test-images")
    with TestClient(create_app(settings, storage), base_url="http://127.0.0.1") as api:
        answer = api.get("/ready")
        assert (answer.status_code, answer.json()["status"]) == (200, "ready")
        assert answer.json()["storage"] == "does not answer"
        job = api.post("/v1/jobs", json={"prompt": "a red circle"})
        assert job.json()["status"] == Status.QUEUED


def test_alive_and_not_ready_without_redis(storage_settings: S3Settings) -> None:
    nowhere = Settings(redis_url=f"redis://{NOWHERE}:{free_port()}/0")
    with TestClient(create_app(nowhere, storage_settings), base_url="http://127.0.0.1") as api:
        assert api.get("/health").status_code == 200
        answer = api.get("/ready")
        assert (answer.status_code, answer.json()["status"]) == (503, "not_ready")
        assert answer.json()["redis"] == "does not answer"
        for method, path in (("GET", "/v1/jobs/a-job"), ("POST", "/v1/jobs"), ("GET", "/v1/queues")):
            away = api.request(method, path)
            assert (away.status_code, away.json()["error"]["code"]) == (503, "redis_unavailable")
            assert away.headers["retry-after"]
            assert NOWHERE not in away.text


def test_documentation_loads_nothing_from_elsewhere(api: TestClient) -> None:
    page = api.get("/docs").text
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(sources) >= 3
    for source in sources:
        assert source.startswith("./")
        assert api.get(source.removeprefix(".")).status_code == 200


def test_examples_of_the_documentation_run(api: TestClient) -> None:
    document = api.get("/openapi.json").json()
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    named = {each["$ref"].removeprefix("#/components/schemas/") for each in body["schema"]["oneOf"]}
    assert named == {"GenerateRequest", "EditRequest"} <= set(document["components"]["schemas"])
    assert len(body["examples"]) >= 2
    for example in body["examples"].values():
        assert api.post("/v1/jobs", json=example["value"]).status_code == 202
