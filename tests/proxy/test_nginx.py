"""All that the API does, through nginx with TLS, below a path, with its default buffering, to two replicas."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import httpx2 as httpx
import pytest

from jobs.kinds.picture import Stage
from jobs.table.states import Status
from jobs.table.table import JobTable
from producer import Client
from tests.integration.producer.api.pictures import png
from tests.integration.producer.api.routes import documented
from tests.proxy.conftest import Front
from tests.proxy.servers import needs_nginx
from tests.system.browser import Browser

pytestmark = needs_nginx

BODY = {"prompt": "a red circle"}
JSONL = {"Content-Type": "application/jsonl"}
LINES = 2_000


def made(api: httpx.Client) -> dict[str, str]:
    """A job that has ended, a batch of two, and a file."""
    job = api.post("/v1/jobs", json=BODY, headers={"Prefer": "wait=60"})
    assert (job.status_code, job.json()["status"]) == (200, "succeeded"), job.text
    batch = api.post("/v1/jobs/batch", content="\n".join([json.dumps(BODY)] * 2), headers=JSONL)
    return {
        "job_id": job.json()["id"],
        "batch_id": batch.headers["location"].rsplit("/", 1)[1],
        "index": "0",
        "model": "shapes",
        "file_id": upload(api).json()["id"],
    }


def submit(api: httpx.Client) -> httpx.Response:
    return api.post("/v1/jobs", json=BODY)


def submit_batch(api: httpx.Client) -> httpx.Response:
    return api.post("/v1/jobs/batch", content=json.dumps(BODY), headers=JSONL)


def generate(api: httpx.Client) -> httpx.Response:
    return api.post("/v1/images/generations", json={**BODY, "response_format": "url"})


def edit(api: httpx.Client) -> httpx.Response:
    return api.post("/v1/images/edits", data={**BODY, "response_format": "url"}, files={"image": png(10 << 20)})


def upload(api: httpx.Client) -> httpx.Response:
    return api.post("/v1/files", data={"purpose": "vision"}, files={"file": ("photo.png", png(10 << 20))})


# With what a route that takes a body is asked; the others are asked as they are, of what `made` has made.
BODIES: dict[str, Callable[[httpx.Client], httpx.Response]] = {
    "POST /v1/jobs": submit,
    "POST /v1/jobs/batch": submit_batch,
    "POST /v1/images/generations": generate,
    "POST /v1/images/edits": edit,
    "POST /v1/files": upload,
}
ASKED = {
    "GET /v1/jobs": 200,
    "GET /v1/jobs/{job_id}": 200,
    "DELETE /v1/jobs/{job_id}": 200,
    "PATCH /v1/jobs/{job_id}": 409,  # It has ended.
    "GET /v1/jobs/{job_id}/events": 200,
    "GET /v1/jobs/{job_id}/images/{index}": 200,
    "GET /v1/jobs/{job_id}/images/{index}/thumbnail": 404,  # It asked for none.
    "GET /v1/jobs/{job_id}/artifacts/{index}": 404,  # It is of images alone.
    "GET /v1/jobs/batches/{batch_id}": 200,
    "GET /v1/jobs/batches/{batch_id}/results": 200,
    "DELETE /v1/jobs/batches/{batch_id}": 200,
    "GET /v1/files": 200,
    "GET /v1/files/{file_id}": 200,
    "GET /v1/files/{file_id}/content": 200,
    "DELETE /v1/files/{file_id}": 200,
    "GET /v1/models": 200,
    "GET /v1/models/{model}": 200,
    "GET /v1/queues": 200,
    "GET /v1/limits": 200,
    "DELETE /v1/jobs": 422,  # It says not which.
    "DELETE /v1/jobs/{job_id}/result": 202,
    "GET /health": 200,
    "GET /ready": 200,
}


def test_every_route_has_a_case(front: Front) -> None:
    assert documented(front.client) == {*BODIES, *ASKED}


@pytest.mark.usefixtures("finished")
def test_every_route_is_served_and_leads_nowhere_else(front: Front) -> None:
    api = front.client
    names, found = made(api), []
    for route, status in [*ASKED.items(), *dict.fromkeys(BODIES, 0).items()]:
        method, path = route.split()
        body = {"position": "front"} if method == "PATCH" else None
        asked = BODIES[route](api) if route in BODIES else api.request(method, path.format(**names), json=body)
        assert asked.status_code == status or (route in BODIES and asked.is_success), (route, asked.text)
        text = asked.text if "image/" not in asked.headers["content-type"] else ""
        found += re.findall(r"https?://[^\s\"\\]+", f"{text} {asked.headers.get('location', '')}")
    assert len(found) > 10
    assert [url for url in found if not url.startswith(f"{front.public}/v1/")] == []


@pytest.mark.usefixtures("finished")
def test_image_is_there_by_its_link_and_by_that_of_openai(front: Front) -> None:
    job = front.client.post("/v1/jobs", json=BODY, headers={"Prefer": "wait=60"}).json()
    links = [job["images"][0]["url"], generate(front.client).json()["data"][0]["url"]]
    for link in links:
        image = front.client.get(link)
        assert (image.status_code, image.headers["content-type"], image.content[:4]) == (200, "image/png", b"\x89PNG")


def test_events_arrive_as_they_happen(front: Front, behind_client: Client, behind_table: JobTable) -> None:
    """Through either replica, though nginx keeps answers back by default until it has much of them."""
    for _ in front.replicas:
        job_id = behind_client.submit("a red circle", caller="blog").id
        claim, _ = behind_table.claim(job_id, owner="a worker")
        assert claim is not None
        with front.client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
            events = (line.removeprefix("event: ") for line in stream.iter_lines() if line.startswith("event:"))
            assert next(events) == "status"
            behind_table.progress(claim, Stage.GENERATE, 1, 2)
            assert next(events) == "progress"
            behind_table.finish(claim, Status.CANCELED)
            assert list(events)[-1] == "completed"


def test_batch_goes_up_and_down_whole(front: Front) -> None:
    """Beyond what nginx keeps in memory, in both directions."""
    lines = [json.dumps({**BODY, "custom_id": f"order-{each}", "priority": "low"}) for each in range(LINES)]
    answer = front.client.post("/v1/jobs/batch", content="\n".join(lines).encode(), headers=JSONL)
    answers = [json.loads(each) for each in answer.text.splitlines()]
    assert [each["custom_id"] for each in answers] == [f"order-{each}" for each in range(LINES)]
    assert all(each["error"] is None if "error" in each else each["id"] for each in answers)
    shown = front.client.get(answer.headers["location"]).json()
    results = front.client.get(shown["results_url"]).text.splitlines()
    assert [json.loads(each)["custom_id"] for each in results] == [each["custom_id"] for each in answers]
    assert front.client.delete(shown["cancel_url"]).json()["status"] in ("canceled", "canceling")


def test_refusals_come_through_as_they_are(front: Front) -> None:
    large = front.client.post("/v1/jobs", content=b" " * (8 << 20), headers={"Content-Type": "application/json"})
    assert (large.status_code, large.json()["error"]["code"]) == (413, "body_too_large")
    nobody = front.client.get("/v1/jobs", headers={"Authorization": "Bearer im_wrong"})
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (401, "invalid_api_key")


def test_slash_more_or_less_leads_to_the_same_place(front: Front) -> None:
    for path in ("/v1/jobs/", "/v1/models/", "/docs/", "/health/"):
        answer = front.client.get(path, follow_redirects=False)
        assert (answer.status_code, "location" in answer.headers) == (200, False), path


def test_page_of_the_documentation_works(front: Front, browser: Browser) -> None:
    for path in ("/docs", "/docs/"):
        assert browser.open(f"{front.public}{path}") == 200
        browser.find(".opblock", "Submit a job")
        assert browser.requested()
        assert [url for url in browser.requested() if not url.startswith(f"{front.public}/")] == []
    assert not browser.errors()
