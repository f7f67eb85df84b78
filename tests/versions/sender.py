"""
A producer of any version: `python sender.py DOOR ROUNDS JOBS`, with that version's checkout on PYTHONPATH.

It keeps a round of jobs under way, as a service does: submits them, waits for the end of each by the same door, prints
what it was told, and begins the next round, until all are over or SIGTERM comes. It imports nothing of the tests: in
another checkout there are others. Prints a JSON object a line: `{"submitted": ID}`, and later
`{"ended": ID, "status": …, "sha256": […]}`.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

PATIENCE_S = 180.0
QUEUE = "gpu.sim"
STEPS = 20  # About a second, so that a few jobs under way are enough for workers to be at work at any moment.
# Fields that both versions know. A new one comes here when the previous version has it, too.
REQUESTS: list[dict[str, Any]] = [
    {},
    {"n": 2},
    {"output": {"format": "webp", "quality": 80, "thumbnail": 32}},
    {"seed": 7, "width": 128, "num_inference_steps": 12},
    {"priority": "high"},
    {"priority": "low", "metadata": {"order": "7"}},
    {"reproducible": True},
    {"negative_prompt": "a star", "guidance_scale": 5.0},
    {"deadline": 3600, "start_deadline": 1800},
    {"output": {"format": "jpeg", "crop": {"width": 32, "height": 32}}},
]

Requests = Sequence[Mapping[str, Any]]
Round = Iterator[Mapping[str, Any]]
Door = Callable[[Requests], Round]


def by_client() -> Door:
    """The Python client."""
    from producer import Client

    client = Client()

    def submit(requests: Requests) -> Round:
        jobs = client.submit_many(requests)
        yield from ({"submitted": job.id} for job in jobs)
        for job in jobs:
            view = job.wait(PATIENCE_S)
            yield {"ended": job.id, "status": view.status, "sha256": [image.sha256 for image in view.images]}

    return submit


def by_http() -> Door:
    """The HTTP API at the port `SENDER_API_PORT`: one job alone, the others as a batch, and their events to the end."""

    def ask(method: str, path: str, body: str | None = None, content_type: str = "application/json") -> str:
        connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["SENDER_API_PORT"]), timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, {"Content-Type": content_type} if body is not None else {})
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status in (200, 202), f"{method} {path}: {answer.status} {text}"
            return text
        finally:
            connection.close()

    def submit(requests: Requests) -> Round:
        alone, *others = requests
        lines = "\n".join(json.dumps(each) for each in others)
        answers = ask("POST", "/v1/jobs/batch", lines, "application/jsonl").splitlines()
        ids = [
            json.loads(ask("POST", "/v1/jobs", json.dumps(alone)))["id"],
            *(json.loads(each)["id"] for each in answers),
        ]
        yield from ({"submitted": job_id} for job_id in ids)
        for job_id in ids:
            assert "event: completed" in ask("GET", f"/v1/jobs/{job_id}/events"), f"the events of {job_id} have no end"
            job = json.loads(ask("GET", f"/v1/jobs/{job_id}"))
            yield {"ended": job_id, "status": job["status"], "sha256": [each["sha256"] for each in job["images"]]}

    return submit


def by_celery(*, is_heard: bool = True) -> Door:
    """
    Celery alone, with nothing of ours; results are waited for if `is_heard`.

    A job that a worker of the previous version gave back when it was stopped has no result in Celery.
    """
    from celery import Celery

    redis_url = os.environ["IMAGEMILL_REDIS_URL"]
    app = Celery(broker=redis_url, backend=redis_url)

    def submit(requests: Requests) -> Round:
        tasks = [app.send_task("imagemill.generate", kwargs=dict(each), queue=QUEUE) for each in requests]
        yield from ({"submitted": task.id} for task in tasks)
        for task in tasks if is_heard else ():
            job = task.get(timeout=PATIENCE_S)
            yield {"ended": job["id"], "status": job["status"], "sha256": [each["sha256"] for each in job["images"]]}

    return submit


DOORS: dict[str, Callable[[], Door]] = {
    "client": by_client,
    "http": by_http,
    "celery": by_celery,
    "celery, unheard": partial(by_celery, is_heard=False),
}


def main(door: str, rounds: int, jobs: int) -> None:
    """Submit so many rounds of so many jobs."""
    is_over = False

    def leave(*_: object) -> None:
        nonlocal is_over
        is_over = True

    signal.signal(signal.SIGTERM, leave)
    submit = DOORS[door]()
    for number in range(rounds):
        if is_over:
            break
        kinds = (REQUESTS[(number + each) % len(REQUESTS)] for each in range(jobs))
        for line in submit(
            [{"prompt": f"a picture by {door}", "num_inference_steps": STEPS, **each} for each in kinds]
        ):
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
