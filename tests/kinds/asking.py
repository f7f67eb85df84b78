"""What these tests ask of a system beside what its harness offers."""

from __future__ import annotations

import base64
import http.client
import json
import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from ops.process import LOOPBACK
from tests.blackbox.system import PATIENCE_S, System

# One white pixel.
INPUT = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEANl9ngAAAAABJRU5ErkJggg==")
INPUT_KEY = "shared/after.png"
AFTER = {"object": INPUT_KEY}

COUNT: dict[str, Any] = {"kind": "count", "text": "one two three"}
SKETCH: dict[str, Any] = {"kind": "sketch", "prompt": "a house", "image": AFTER}
GENERATE: dict[str, Any] = {"prompt": "a red circle on a blue background"}
LONG_COUNT = {**COUNT, "text": "word " * 400, "word_s": 0.5}
LONG_SKETCH = {**SKETCH, "draw_steps": 1_000}

Sent = list[tuple[str, dict[str, Any]]]


def post(system: System, body: dict[str, Any], key: str | None = None) -> str:
    """Submit exactly this over HTTP; the job's id."""
    answer = system.http("POST", "/v1/jobs", body, key)
    assert answer.status == 202, f"{answer.status} {answer.body}"
    return str(answer.body["id"])


def is_running(system: System, job_id: str) -> bool:
    return bool(system.job(job_id)["step"] > 0)


def sent_events(system: System, job_id: str) -> Sent:
    """Types and data of all events of a job, up to its end, as HTTP sends them."""
    assert system.api is not None
    connection = http.client.HTTPConnection(LOOPBACK, system.api.port or 0, timeout=PATIENCE_S)
    try:
        connection.request("GET", f"/v1/jobs/{job_id}/events", headers={"Accept": "text/event-stream"})
        blocks = connection.getresponse().read().decode().split("\n\n")
    finally:
        connection.close()
    found = [dict(line.split(": ", 1) for line in block.splitlines() if ": " in line) for block in blocks]
    return [(each["event"], json.loads(each["data"])) for each in found if "event" in each]


def watched_events(system: System, body: dict[str, Any]) -> Sent:
    """The same of a job that is followed from before it runs, for stages that nobody watches are not sent."""
    return sent_events(system, post(system, {**body, "start_after": 3}))


def samples(port: int) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    """What a process tells Prometheus: by name and labels."""
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=PATIENCE_S) as answer:
        text = answer.read().decode()
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def labelled(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())
