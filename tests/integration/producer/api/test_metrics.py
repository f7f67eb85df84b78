"""What Prometheus reads of an API process: routes and not paths, and the system's figures, or that Redis is away."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import redis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, generate_latest

from jobs.fleet.fleet import Fleet, WorkerReport
from jobs.process.exposition import serve_metrics
from jobs.process.settings import Settings
from jobs.redis.connection import connect
from jobs.table.figures import FigureReader, Figures
from ops.process import free_port, http_status, wait_until
from producer.api.metrics.figures import SystemFigures

QUEUE = {"queue": "gpu.shapes-flow", "model": "shapes-flow"}


@pytest.fixture
def requests(api: TestClient) -> CollectorRegistry:
    app = api.app
    assert isinstance(app, FastAPI)
    registry: CollectorRegistry = app.state.metrics.registry
    return registry


@pytest.fixture
def reader(settings: Settings) -> Iterator[FigureReader]:
    with connect(settings) as client:
        yield FigureReader(client, settings)


def test_requests_are_counted_by_the_template_of_their_route(api: TestClient, requests: CollectorRegistry) -> None:
    job = api.post("/v1/jobs", json={"prompt": "a red circle"}).json()
    for path in (f"/v1/jobs/{job['id']}", "/v1/jobs/no-such-job", "/v1/jobs/another", "/no/such/path"):
        api.get(path)
    api.request("BREW", "/coffee")

    def count(method: str, route: str, status: str) -> float | None:
        labels = {"method": method, "route": route, "status": status}
        return requests.get_sample_value("imagemill_api_requests_total", labels)

    assert count("POST", "/v1/jobs", "202") == 1
    assert count("GET", "/v1/jobs/{job_id}", "200") == 1
    assert count("GET", "/v1/jobs/{job_id}", "404") == 2
    assert count("GET", "other", "404") == 1
    assert count("other", "other", "404") == 1
    labels = {"method": "GET", "route": "/v1/jobs/{job_id}"}
    assert requests.get_sample_value("imagemill_api_request_seconds_count", labels) == 3
    assert requests.get_sample_value("imagemill_api_requests_active") == 0
    assert job["id"].encode() not in generate_latest(requests)


def test_system_is_shown_before_it_has_a_job_and_after(
    api: TestClient, reader: FigureReader, redis_client: redis.Redis, settings: Settings
) -> None:
    fleet = Fleet(redis_client, settings)
    fleet.report(WorkerReport(name="worker@a", state="busy", models=("shapes-flow",)))
    now = [0.0]
    registry = CollectorRegistry()
    registry.register(SystemFigures(reader, fleet, ["shapes-flow"], lambda: now[0]))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, {**QUEUE, **labels})

    assert registry.get_sample_value("imagemill_redis_up") == 1
    assert value("imagemill_queued_jobs", priority="high") == 0
    assert value("imagemill_workers", state="busy") == 1
    api.post("/v1/jobs", json={"prompt": "a red circle", "priority": "high"})
    now[0] += 1
    assert value("imagemill_queued_jobs", priority="high") == 0  # As a moment before: a scrape costs Redis nothing.
    now[0] += 60
    assert value("imagemill_queued_jobs", priority="high") == 1
    assert (value("imagemill_oldest_queued_seconds", priority="high") or 0) > 0
    assert value("imagemill_jobs_submitted_total") == 1
    assert value("imagemill_jobs_failed_total", code="worker_lost") == 0


def test_redis_that_does_not_answer_is_said_in_time(settings: Settings) -> None:
    class Hanging(FigureReader):
        """As a Redis behind a cut cable: it answers only when the cable is whole again."""

        def read(self) -> Figures:
            whole.wait()
            return super().read()

    whole = threading.Event()
    with connect(settings) as client:
        registry = CollectorRegistry()
        fleet = Fleet(client, settings)
        registry.register(SystemFigures(Hanging(client, settings), fleet, ["shapes-flow"], answer_s=0.2))
        assert registry.get_sample_value("imagemill_redis_up") == 0
        assert registry.get_sample_value("imagemill_queued_jobs", {**QUEUE, "priority": "high"}) is None
        whole.set()
        assert wait_until(lambda: registry.get_sample_value("imagemill_redis_up") == 1, 60)


def test_redis_that_is_gone_is_said() -> None:
    away = Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0")
    with connect(away) as client:
        registry = CollectorRegistry()
        registry.register(SystemFigures(FigureReader(client, away), Fleet(client, away), ["shapes-flow"]))
        assert registry.get_sample_value("imagemill_redis_up") == 0


def test_metrics_can_be_turned_off_and_a_taken_port_stops_nobody(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    chosen = settings.model_copy(update={"metrics_port": port})
    assert serve_metrics(CollectorRegistry(), settings.model_copy(update={"metrics_port": None})) is None
    assert http_status(port) == 0
    server = serve_metrics(CollectorRegistry(), chosen)
    assert server is not None
    assert http_status(port, "/metrics") == 200
    assert serve_metrics(CollectorRegistry(), chosen) is None
    server.shutdown()
    server.server_close()
    assert f"address=127.0.0.1:{port}" in capsys.readouterr().out.replace("'", "")
    monkeypatch.setenv("IMAGEMILL_METRICS_PORT", "off")
    from jobs.process.settings import load_settings

    assert load_settings().metrics_port is None
