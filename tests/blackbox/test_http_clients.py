"""What clients of HTTP expect of any server, whatever they were written in."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import httpx2 as httpx
import pytest

from tests.blackbox.outside import QUEUE
from tests.blackbox.system import PATIENCE_S, System

PROMPT = "a red circle on a blue background"


@pytest.fixture
def web(system: System) -> Iterator[httpx.Client]:
    assert system.api is not None
    with httpx.Client(base_url=f"http://127.0.0.1:{system.api.port}", trust_env=False, timeout=PATIENCE_S) as web:
        yield web


def test_head_and_packed_bodies_are_answered_as_their_senders_can_read(web: httpx.Client) -> None:
    job_id = web.post("/v1/jobs", json={"prompt": PROMPT}).json()["id"]
    for path in ("/health", "/ready", "/docs", "/v1/jobs", f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/events"):
        head = web.head(path)
        assert (head.status_code, head.content) == (200, b""), path
    body = gzip.compress(json.dumps({"prompt": PROMPT}).encode())
    for path in ("/v1/jobs", "/v1/jobs/batch", "/v1/images/generations"):
        packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        refused = web.post(path, content=body, headers=packed)
        assert (refused.status_code, "identity" in refused.json()["error"]["message"]) == (415, True), path


def test_whole_number_is_an_integer_over_http_and_in_celery(system: System, web: httpx.Client) -> None:
    system.worker()
    fields = {"prompt": PROMPT, "n": 2.0, "width": 128.0, "output": {"thumbnail": 16.0}}
    by_http = web.post("/v1/jobs", json=fields)
    assert by_http.status_code == 202, by_http.text
    sent = system.celery().send_task("imagemill.generate", kwargs=fields, queue=QUEUE).id
    for job_id in (by_http.json()["id"], sent):
        job = system.end_of(job_id)
        assert (job["status"], len(job["images"]), job["images"][0]["width"]) == ("succeeded", 2, 128)
        assert json.dumps(job["parameters"]["n"]) == "2"
    refused = web.post("/v1/jobs", json={**fields, "n": 1.5})
    assert (refused.status_code, refused.json()["error"]["field"]) == (422, "n")


def test_openais_clients_find_a_link_where_they_chose_nothing_and_a_model_by_its_name(
    system: System, web: httpx.Client
) -> None:
    system.worker()
    answer = web.post("/v1/images/generations", json={"prompt": PROMPT})
    (image,) = answer.json()["data"]
    assert image["b64_json"]
    assert httpx.get(image["url"], trust_env=False, timeout=PATIENCE_S).headers["content-type"] == "image/png"
    found = web.get("/v1/models/sim").json()
    assert (found["id"], found["object"]) == ("sim", "model")
    missing = web.get("/v1/models/black-forest-labs/FLUX.1-schnell")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
