"""A system that is watched closely: traces to a real collector, and logs as JSON, with the job's id in every line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2 as httpx
import pytest

from jobs.process.settings import Settings
from ops.process import LOOPBACK, wait_until
from ops.programs import Api, Program
from ops.stack import metrics_env, worker_is_ready
from producer import Client
from storage.backends.s3.settings import S3Settings
from tests.system.collector import Collector, TakenSpan, collecting
from tests.system.conftest import _START_S, DEADLINE_S

STAGES = ["encode", "generate", "postprocess", "upload"]
CALLERS_TRACE, CALLERS_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@dataclass(slots=True, kw_only=True)
class Watched:
    """A worker and an API of these tests alone, on a database of their own."""

    api: Api
    collector: Collector
    settings: Settings
    storage: S3Settings
    worker_lines: list[str] = field(default_factory=list)
    api_lines: list[str] = field(default_factory=list)

    def spans(self, job_id: str, *names: str) -> list[TakenSpan]:
        """The spans of a job's trace, once those of these names are there."""

        def are_there() -> bool:
            return {each.name for each in self.collector.of_job(job_id)} >= set(names)

        assert wait_until(are_there, DEADLINE_S), self.collector.of_job(job_id)
        return self.collector.of_job(job_id)

    def lines_of(self, lines: list[str], job_id: str) -> list[dict[str, Any]]:
        """What a process' log says of a job."""
        return [each for each in _objects(lines) if each.get("job_id") == job_id]


def _objects(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in list(lines)]


@pytest.fixture(scope="module")
def watched(stack_env: dict[str, str]) -> Iterator[Watched]:
    with collecting() as collector:
        env = stack_env | metrics_env(None)
        env["IMAGEMILL_REDIS_URL"] = stack_env["IMAGEMILL_REDIS_URL"].removesuffix("/0") + "/2"
        env |= {"IMAGEMILL_TRACES_ENDPOINT": collector.endpoint, "IMAGEMILL_LOG_FORMAT": "json"}
        env |= {"OTEL_BSP_SCHEDULE_DELAY": "100"}  # ms; spans come soon.
        settings = Settings(redis_url=env["IMAGEMILL_REDIS_URL"], traces_endpoint=collector.endpoint)
        storage = S3Settings(endpoint_url=env["IMAGEMILL_S3_ENDPOINT_URL"], bucket=env["IMAGEMILL_S3_BUCKET"])
        command = [sys.executable, "-m", "ops.cli", "worker"]
        worker = Program("worker", command, env, lambda: worker_is_ready(settings))
        system = Watched(api=Api(0, env), collector=collector, settings=settings, storage=storage)
        with _started(worker, system.worker_lines, _START_S), _started(system.api, system.api_lines, _START_S):
            yield system


class _started:  # noqa: N801 - used as a function
    def __init__(self, process: Program | Api, lines: list[str], deadline_s: float) -> None:
        self._process, self._lines, self._deadline_s = process, lines, deadline_s

    def __enter__(self) -> None:
        self._process.start(self._lines.append)
        self._process.wait_until_ready(self._deadline_s)

    def __exit__(self, *_: object) -> None:
        self._process.stop()


def submit(watched: Watched, headers: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    body = {"prompt": "a red circle", "num_inference_steps": 2, **fields}
    asked = {"Prefer": "wait=60", **(headers or {})}
    answer = httpx.post(f"{watched.api.url}/v1/jobs", json=body, headers=asked, timeout=DEADLINE_S, trust_env=False)
    job: dict[str, Any] = answer.json()
    return job


def test_trace_goes_from_the_submission_to_the_upload(watched: Watched) -> None:
    job = submit(watched)
    spans = {each.name: each for each in watched.spans(job["id"], "submit", "queue", "attempt", "finish", *STAGES)}
    assert set(spans) == {"submit", "queue", "attempt", "claim", "finish", *STAGES}
    assert len({each.trace_id for each in spans.values()}) == 1
    submitted, attempt = spans["submit"], spans["attempt"]
    assert (submitted.parent_id, submitted.service) == ("", "imagemill-producer")
    for name in ("queue", "attempt"):
        assert (spans[name].parent_id, spans[name].service) == (submitted.span_id, "imagemill-worker")
    for name in ("claim", "finish", *STAGES):
        assert spans[name].parent_id == attempt.span_id
        assert spans[name].started_s <= spans[name].ended_s
    order = [spans[name].started_s for name in ("claim", *STAGES, "finish")]
    assert order == sorted(order)
    for stage in STAGES:
        assert spans[stage].ended_s - spans[stage].started_s == pytest.approx(job["timings"][stage], abs=0.001)
    attributes = attempt.attributes
    assert (attributes["imagemill.job_id"], attributes["imagemill.model"]) == (job["id"], "shapes-flow")
    assert attributes["imagemill.status"] == "succeeded"
    assert attempt.error is None
    assert spans["generate"].attributes["imagemill.passes"] == 2
    assert spans["generate"].attributes["imagemill.rows_a_pass"] == 1.0  # One image.


def test_trace_of_who_calls_is_continued(watched: Watched) -> None:
    job = submit(watched, {"traceparent": f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-01"})
    spans = watched.spans(job["id"], "submit", "attempt")
    assert {each.trace_id for each in spans} == {CALLERS_TRACE}
    assert next(each for each in spans if each.name == "submit").parent_id == CALLERS_SPAN


@pytest.mark.parametrize("traceparent", ["nonsense", f"00-{'0' * 32}-{CALLERS_SPAN}-01", "00-abc-def-01"])
def test_malformed_context_is_ignored(watched: Watched, traceparent: str) -> None:
    job = submit(watched, {"traceparent": traceparent})
    assert job["status"] == "succeeded"
    assert watched.spans(job["id"], "submit")[0].parent_id == ""


def test_client_in_this_process_begins_a_trace_too(watched: Watched) -> None:
    client = Client(watched.settings, watched.storage)
    jobs = client.submit_many({"prompt": f"circle {number}", "num_inference_steps": 1} for number in range(3))
    for job in jobs:
        assert job.wait(DEADLINE_S).status == "succeeded"
    client.close()
    traces = {tuple({each.trace_id for each in watched.spans(job.id, "submit", "upload")}) for job in jobs}
    assert len(traces) == len(jobs)


def test_trace_of_a_job_that_was_canceled_says_so(watched: Watched) -> None:
    job = submit(watched, {"Prefer": "wait=0"}, num_inference_steps=100, n=4)
    url = f"{watched.api.url}/v1/jobs/{job['id']}"
    assert wait_until(
        lambda: httpx.get(url, timeout=DEADLINE_S, trust_env=False).json().get("stage") == "generate", DEADLINE_S
    )
    httpx.delete(url, timeout=DEADLINE_S, trust_env=False)
    spans = {each.name: each for each in watched.spans(job["id"], "submit", "attempt", "finish")}
    assert spans["attempt"].attributes["imagemill.status"] == "canceled"
    assert "upload" not in spans


def test_refused_submission_is_marked(watched: Watched) -> None:
    first = submit(watched, {"Idempotency-Key": "one-key"})
    again = submit(watched, {"Idempotency-Key": "one-key"}, prompt="something else")
    assert again["error"]["code"] == "idempotency_conflict"
    assert wait_until(
        lambda: "IdempotencyConflict" in [each.error for each in watched.collector.of_job(first["id"])], 30
    )


def test_prompts_are_in_no_span(watched: Watched) -> None:
    job = submit(watched, prompt="an unspeakable circle", metadata={"a": "unspeakable"})
    for span in watched.spans(job["id"], "submit", "upload"):
        assert "unspeakable" not in str(span)


def test_every_line_of_worker_and_api_is_an_object(watched: Watched) -> None:
    submit(watched)
    for lines in (watched.worker_lines, watched.api_lines):
        found = _objects(lines)
        assert found
        assert all({"timestamp", "level", "event"} <= set(each) for each in found)


def test_lines_of_a_job_have_its_id(watched: Watched) -> None:
    job = submit(watched)

    def has(lines: list[str], *events: str) -> bool:
        return [each["event"] for each in watched.lines_of(lines, job["id"])] == list(events)

    assert wait_until(lambda: has(watched.worker_lines, "job ended"), DEADLINE_S)
    httpx.delete(f"{watched.api.url}/v1/jobs/{job['id']}", timeout=DEADLINE_S, trust_env=False)
    assert wait_until(lambda: has(watched.api_lines, "request", "request"), DEADLINE_S)
    posted, deleted = watched.lines_of(watched.api_lines, job["id"])
    assert (posted["method"], posted["path"], deleted["method"]) == ("POST", "/v1/jobs", "DELETE")


def test_no_line_mentions_a_job_otherwise(watched: Watched) -> None:
    """An id in a text and not in `job_id` is an id that a search by field does not find."""
    job = submit(watched)
    assert wait_until(lambda: any(job["id"] in line for line in list(watched.worker_lines)), DEADLINE_S)
    for line in [*watched.worker_lines, *watched.api_lines]:
        if job["id"] in line:
            assert json.loads(line).get("job_id") == job["id"]


def test_nothing_of_it_is_imported_where_traces_are_off() -> None:
    """By us: redis-py imports the SDK's metrics wherever it finds them."""
    script = (
        "import sys; import jobs.process.traces, producer.client.traces, workers.attempt.trace; "
        "from jobs.process.settings import Settings; from producer import Client; Client(Settings()); "
        "ours = ('opentelemetry.sdk.trace', 'opentelemetry.exporter'); "
        "print([name for name in sys.modules if name.startswith(ours)])"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEMILL_")}
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env)
    assert ran.stdout.strip() == "[]"


def test_collector_that_is_away_stops_nobody(watched: Watched) -> None:
    away = watched.settings.model_copy(update={"traces_endpoint": f"http://{LOOPBACK}:9"})
    client = Client(away, watched.storage)
    assert client.submit("a red circle", num_inference_steps=1).wait(DEADLINE_S).status == "succeeded"
    client.close()
