"""Every path knows its methods: HEAD wherever GET is, OPTIONS, and a refusal of all others that its client can read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
import redis
from fastapi.testclient import TestClient

from jobs import names
from jobs.table.states import Status
from jobs.table.table import JobTable
from storage.backends.s3.store import S3Store
from tests.claims import claim_job
from tests.integration.producer.api.conftest import DEADLINE_S
from tests.integration.producer.api.pictures import png
from tests.integration.producer.api.routes import documented, filled
from tests.integration.producer.api.test_jobs import IMAGE, submit

UNDOCUMENTED = ("/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css")
# What differs from one answer to the next, whatever its method; and how a body is sent, where there is one.
OF_ITS_MOMENT = {"date", "transfer-encoding", "x-request-id"}
OURS, OPENAIS = {"code", "message", "field"}, {"code", "message", "type", "param"}


# Method, path, status, and whose form of an error it has.
NOT_THERE = [
    ("GET", "/v1/nothing", 404, OURS),
    ("OPTIONS", "/v1/nothing", 404, OURS),
    ("GET", "/nothing", 404, OURS),
    ("GET", "/v1/modelsx/y", 404, OURS),
    ("GET", "/v1/batches", 404, OURS),
    ("PUT", "/v1/jobs", 405, OURS),
    ("POST", "/v1/models", 405, OURS),
    ("GET", "/v1/images/edits", 405, OPENAIS),
    ("POST", "/v1/chat/completions", 404, OPENAIS),
    ("POST", "/v1/embeddings", 404, OPENAIS),
    ("GET", "/v1/files/no/such", 404, OPENAIS),
    ("PUT", "/v1/files", 405, OPENAIS),
    ("GET", "/v1/models/no/such", 404, OPENAIS),
    ("GET", "/v1/images/generations", 405, OPENAIS),
    ("DELETE", "/v1/models/shapes", 405, OPENAIS),
]
TAKEN = {
    "/v1/jobs": {"GET", "HEAD", "POST", "DELETE"},
    "/v1/jobs/batch": {"POST"},
    "/v1/jobs/one": {"GET", "HEAD", "PATCH", "DELETE"},
    "/v1/jobs/one/events": {"GET", "HEAD"},
    "/v1/jobs/one/result": {"DELETE"},
    "/v1/jobs/batches/one": {"GET", "HEAD", "DELETE"},
    "/v1/jobs/batches/one/results": {"GET", "HEAD"},
    "/v1/images/generations": {"POST"},
    "/v1/images/edits": {"POST"},
    "/v1/models/shapes": {"GET", "HEAD"},
    "/v1/files": {"GET", "HEAD", "POST"},
    "/v1/files/one": {"GET", "HEAD", "DELETE"},
    "/v1/files/one/content": {"GET", "HEAD"},
    "/health": {"GET", "HEAD"},
    "/docs": {"GET", "HEAD"},
    "/openapi.json": {"GET", "HEAD"},
}


@pytest.fixture
def client(replica: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=replica, trust_env=False, timeout=DEADLINE_S) as client:
        yield client


@pytest.fixture
def done(client: httpx.Client, table: JobTable, store: S3Store) -> dict[str, Any]:
    """A job with a picture, a thumbnail and another object, alone in its batch; and a file."""
    for key in ("a/0.png", "a/0.thumb.webp", "a/1.txt"):
        store.put(key, b"content", "image/png")
    answer = client.post("/v1/jobs/batch", json=[{"prompt": "a red circle"}])
    job_id, batch = answer.json()["id"], answer.headers["location"].rpartition("/")[2]
    claim = claim_job(table, job_id)
    other = {"key": "a/1.txt", "content_type": "text/plain", "bytes": 7, "sha256": "00", "name": "words"}
    table.finish(claim, Status.SUCCEEDED, artifacts=[IMAGE, other])
    file = client.post("/v1/files", data={"purpose": "vision"}, files={"file": ("a.png", png())}).json()
    return {"job_id": job_id, "batch_id": batch, "model": "shapes-flow", "file_id": file["id"]}


def head_of(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in OF_ITS_MOMENT}


def test_head_is_answered_as_get_without_the_body(client: httpx.Client, done: dict[str, Any]) -> None:
    paths = [route.removeprefix("GET ") for route in documented(client) if route.startswith("GET ")]
    assert len(paths) >= 16
    for path in [*(filled(each, **done) for each in paths), *UNDOCUMENTED, "/v1/jobs/none", "/v1/nothing"]:
        get, head = client.get(path), client.head(path)
        assert (head.status_code, head_of(head), head.content) == (get.status_code, head_of(get), b""), path
        assert get.status_code == (404 if path.startswith(("/v1/jobs/none", "/v1/nothing")) else 200), path


def test_head_of_a_stream_ends_at_once_and_follows_nothing(client: httpx.Client, redis_client: redis.Redis) -> None:
    waiting = client.post("/v1/jobs", json={"prompt": "a red circle"}).json()
    answer = client.head(f"/v1/jobs/{waiting['id']}/events")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert client.get("/health").status_code == 200  # On the same connection.
    assert redis_client.hget(names.job_key(waiting["id"]), "watched") is None


def test_head_of_a_file_asks_the_store_for_none_of_it(
    api: TestClient, table: JobTable, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a/0.png", b"content", "image/png")
    job = submit(api)
    claim = claim_job(table, job["id"])
    table.finish(claim, Status.SUCCEEDED, artifacts=[IMAGE, IMAGE | {"key": "a/gone.png"}])
    file = api.post("/v1/files", data={"purpose": "vision"}, files={"file": ("a.png", png(999))}).json()
    monkeypatch.delattr(S3Store, "get")
    assert api.head(f"/v1/files/{file['id']}/content").headers["content-length"] == "999"
    answer = api.head(f"/v1/jobs/{job['id']}/images/0")
    assert (answer.status_code, answer.headers["content-length"]) == (200, "7")
    assert api.head(f"/v1/jobs/{job['id']}/images/1").status_code == 404


def test_path_says_what_it_takes_where_it_is_asked_and_where_it_refuses(api: TestClient) -> None:
    for path, methods in TAKEN.items():
        options, refused = api.options(path), api.put(path)
        assert (options.status_code, options.content, refused.status_code) == (204, b"", 405)
        for answer in (options, refused):
            assert set(answer.headers["allow"].split(", ")) == {*methods, "OPTIONS"}


def test_what_is_not_there_is_told_as_the_clients_of_its_path_read_it(api: TestClient) -> None:
    for method, path, status, form in NOT_THERE:
        answer = api.request(method, path)
        error = answer.json()["error"]
        assert (answer.status_code, set(error)) == (status, form), path
        assert len(error["message"]) > len("Method Not Allowed")
        assert ("allow" in answer.headers) == (status == 405)


def test_each_answer_has_the_id_of_its_request_as_the_document_says(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path in [path for path, operations in paths.items() if "get" in operations]:
        answer = client.get(filled(path, job_id="none", batch_id="none"))
        told = paths[path]["get"]["responses"][str(answer.status_code)]
        assert answer.headers["x-request-id"], path
        assert told["headers"]["X-Request-Id"], path
    told_of_all = [
        each for operations in paths.values() for of in operations.values() for each in of["responses"].items()
    ]
    assert [status for status, each in told_of_all if "X-Request-Id" not in each["headers"]] == []


def test_each_field_of_a_body_is_described(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()

    def fields(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        for each in schema.get("oneOf", ()):
            yield from fields(each)
        yield from schema.get("properties", {}).items()

    bodies = [
        (path, schema)
        for path, operations in document["paths"].items()
        for operation in operations.values()
        for kind in operation.get("requestBody", {}).get("content", {}).values()
        for schema in [kind["schema"]]
    ]
    assert {path for path, _ in bodies} >= {"/v1/jobs", "/v1/files", "/v1/images/edits", "/v1/images/generations"}
    told = [(path, name, field.get("description")) for path, schema in bodies for name, field in fields(schema)]
    assert len(told) > len(bodies)
    assert [each for each in told if not each[2]] == []
