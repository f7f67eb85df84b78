"""What an API process has in use does not grow with what it was asked before."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx2 as httpx
from fastapi.testclient import TestClient

from jobs.table.states import Status
from jobs.table.table import JobTable
from producer.api import links
from tests.integration.producer.api.conftest import DEADLINE_S, MakeKey

JOBS, IMAGES = 300, 16  # Each image has two links, of 1 KB each in memory.
PAGE = 100
# Of the interpreter and of libraries, as a request more or less leaves it: what is made once, free lists, buffers.
SLACK_BYTES = 1 << 20
FIRST, THEN, ROUNDS = 60, 50, 3  # times all of `ask_for`
MOST_BYTES_EACH = 100  # Whatever is kept of one request has its text and a place: 150 and more.

LEVELS = 1_000
JSON = {"Content-Type": "application/json"}
ANSWERS = [404, 404, 422, 200, 401, 422, 422, 400, 200, 200, 400, 404]

IMAGE = {"content_type": "image/png", "width": 64, "height": 64, "bytes": 7, "sha256": "0" * 64, "seed": 7}


@contextmanager
def counting() -> Iterator[Callable[[], int]]:
    """Gives what says how many bytes are in use of what was taken meanwhile."""

    def in_use() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        yield in_use
    finally:
        tracemalloc.stop()


def finish(table: JobTable, job_id: str) -> None:
    """What a worker does. Every image is another, as those of workers are."""
    claim, _ = table.claim(job_id, owner="a worker")
    assert claim is not None
    keys = [f"2026-11-30/{job_id}/1-{uuid4().hex}/{number:03}" for number in range(IMAGES)]
    images = [IMAGE | {"key": f"{key}.png", "thumbnail_key": f"{key}.thumb.webp"} for key in keys]
    table.finish(claim, Status.SUCCEEDED, artifacts=images)


def test_links_in_memory_do_not_grow_with_the_jobs_that_are_read(api: TestClient, table: JobTable) -> None:
    for line in api.post("/v1/jobs/batch", json=[{"prompt": "a red circle"}] * JOBS).text.splitlines():
        finish(table, json.loads(line)["id"])
    api.get("/v1/jobs", params={"limit": 1})  # What is made at the first time is there now.
    with counting() as in_use:
        before, read = in_use(), 0
        for page in pages(api):
            read += sum(len(job["images"]) for job in page)
        del page
        grown = in_use() - before
    assert read == JOBS * IMAGES
    assert 0 < grown < links._MOST_BYTES + SLACK_BYTES


def pages(api: TestClient) -> Iterator[list[dict[str, Any]]]:
    """Of all jobs."""
    params: dict[str, Any] = {"limit": PAGE}
    while "cursor" not in params or params["cursor"]:
        page = api.get("/v1/jobs", params=params).json()
        yield page["data"]
        params["cursor"] = page["next_cursor"]


def ask_for(client: httpx.Client, number: int, key: dict[str, str]) -> None:
    """Requests that are refused or forgotten, each with something that none before it had."""
    own = f"{number}-{uuid4().hex * 3}"  # Of names in JSON, orjson and pydantic keep some thousands of up to 64 bytes.
    answers = [
        client.get(f"/v1/jobs/{own}", headers=key),
        client.get(f"/v1/{own}/{own}", headers=key),
        client.get("/v1/jobs", params={own: own}, headers=key),
        client.get("/v1/jobs", headers=key | {"Host": f"{own}.example.org"}, params={"limit": 1}),
        client.get("/v1/jobs", headers={"Authorization": f"Bearer im_{own}"}),
        client.post("/v1/jobs", json={"prompt": "a star", own: own}, headers=key),
        client.post("/v1/jobs", json={"prompt": "a star", "model": own}, headers=key),
        client.post("/v1/jobs", content=b'{"%s":' % own.encode() * LEVELS + b"}" * LEVELS, headers=key | JSON),
        client.post("/v1/jobs", params={"dry_run": True}, json={"prompt": own}, headers=key),
        client.post("/v1/jobs/batch", json=[{"prompt": "", own: own}], headers=key),
        client.request(f"X{own[-8:]}", "/v1/jobs", headers=key),
        client.delete(f"/v1/jobs/batches/{own}", headers=key),
    ]
    assert [each.status_code for each in answers] == ANSWERS


def test_requests_leave_nothing_in_memory(replica: str, make_key: MakeKey) -> None:
    key = make_key("attacker")
    with httpx.Client(base_url=replica, trust_env=False, timeout=DEADLINE_S) as client, counting() as in_use:
        for number in range(FIRST):
            ask_for(client, number, key)
        grown = [growth(client, key, in_use) for _ in range(ROUNDS)]
    # What is kept of each request grows in every round; a connection that another thread opens has 64 KiB in one.
    assert min(grown) < THEN * MOST_BYTES_EACH


def growth(client: httpx.Client, key: dict[str, str], in_use: Callable[[], int]) -> int:
    before = in_use()
    for number in range(THEN):
        ask_for(client, number, key)
    return in_use() - before
