"""No parameter of a query is without effect: each route refuses what it does not have, by its name."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.integration.producer.api.routes import documented, filled

NAMES = {"job_id": "one", "batch_id": "one", "model": "shapes-flow"}


def test_unknown_parameter_is_refused_by_every_route(api: TestClient) -> None:
    for route in documented(api):
        method, path = route.split()
        answer = api.request(method, filled(path, **NAMES), params={"limt": "5"}, json={"prompt": "a red circle"})
        error = answer.json()["error"]
        assert error.get("field", error.get("param")) == "limt", route
        assert answer.status_code == (400 if "param" in error else 422), route
        assert "unknown query parameter" in error["message"]


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("limit=5&stauts=failed", "stauts", "there are status, model, limit, cursor"),
        ("limit=5&limit=6", "limit", "more than once"),
        ("Limit=5", "Limit", "unknown query parameter"),
        ("=5", "query", "unknown query parameter"),
        ("x" * 300 + "=5", "x" * 100, "unknown query parameter"),
    ],
)
def test_refusal_says_what_there_is(api: TestClient, query: str, field: str, words: str) -> None:
    answer = api.get(f"/v1/jobs?{query}")
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    assert words in answer.json()["error"]["message"]


def test_parameters_that_there_are_have_their_effect(api: TestClient) -> None:
    for _ in range(2):
        api.post("/v1/jobs", params={"dry_run": "false"}, json={"prompt": "a red circle"})
    assert len(api.get("/v1/jobs", params={"status": "queued", "limit": "1.0"}).json()["data"]) == 1
