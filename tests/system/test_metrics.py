"""What Prometheus sees of the running system, and that whatever the alerts and the dashboard ask for is there."""

from __future__ import annotations

import math
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import redis
import yaml
from celery import Celery
from prometheus_client.parser import text_string_to_metric_families

from jobs.fleet.fleet import Fleet
from ops.dashboard.dashboard import dashboard
from ops.process import LOOPBACK, Process, http_status, wait_until
from ops.programs import Api, Program
from producer import Client
from tests.system import queries
from tests.system.conftest import DEADLINE_S
from tests.system.queries import Query

_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
_OF_TARGETS = {"job", "instance", "le"}  # Labels that Prometheus gives, and that of a histogram's buckets.
_OF_PROMETHEUS = {"up": set(), "ALERTS": {"alertname", "alertstate"}}

# Panels that show something as soon as a job has run and a request was answered.
_WITH_DATA = [
    "Queued jobs",
    "Running jobs",
    "Workers",
    "Images a second",
    "Failing jobs",
    "Redis",
    "Submitted and ended",
    "Denoising steps a second",
    "Jobs that ended, by how",
    "Failures by code",
    "Attempts for each job that ended",
    "From submission to the end",
    "Stages: median",
    "Batch occupancy",
    "Rows a pass",
    "Seconds a pass",
    "Prompts whose embeddings were kept",
    "Jobs in hand, of slots",
    "Time since its last heartbeat",
    "Requests a second",
    "Errors a second",
    "Until the answer begins: 99th percentile",
]


class Prometheus(Process):
    """
    A Prometheus that scrapes the session's worker and API every second, with the rules of the repository.

    Attributes:
        busy_at: When jobs and requests were counted; rates are of the minute before, and a busy machine may ask later.
    """

    busy_at = 0.0

    def __init__(self, folder: Path, targets: dict[str, int]) -> None:
        super().__init__("prometheus", port=0)
        self._folder = folder
        self._targets = targets

    def command(self) -> list[str]:
        jobs = [
            {"job_name": name, "static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}]}
            for name, port in self._targets.items()
        ]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(queries.RULES)],
            "scrape_configs": jobs,
        }
        file = self._folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        listen = f"--web.listen-address={LOOPBACK}:{self.port}"
        storage = f"--storage.tsdb.path={self._folder / 'data'}"
        return ["prometheus", f"--config.file={file}", listen, storage, "--log.level=warn"]

    def is_ready(self) -> bool:
        return http_status(self.port or 0, "/-/ready") == 200 and self.ask("query", query="vector(1)") != []

    def ask(self, what: str, **params: str) -> Any:
        """What its API answers; raises where that is an error."""
        url = f"http://{LOOPBACK}:{self.port}/api/v1/{what}"
        answer = httpx.get(url, params=params, timeout=DEADLINE_S, trust_env=False).json()
        assert answer["status"] == "success", answer
        data = answer["data"]
        return data["result"] if what == "query" else data

    def value(self, expression: str) -> float:
        """Of the only series that there is; 0 where there is none yet."""
        found = self.ask("query", query=expression)
        return float(found[0]["value"][1]) if found else 0.0


@pytest.fixture(scope="module")
def scrape(worker: Program, api: Api) -> dict[str, set[str]]:
    """Names of the samples that worker and API may show, and the labels that each has now."""
    found: dict[str, set[str]] = {}
    for process in (worker, api):
        for family in text_string_to_metric_families(_metrics_of(process)):
            for suffix in _SUFFIXES.get(family.type, ("",)):
                found.setdefault(family.name + suffix, set())
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.fixture(scope="module")
def prometheus(
    worker: Program, api: Api, stack_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """One that saw two jobs succeed, one fail, and some requests."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed; Debian's package prometheus has it (.ci/prepare)")
    targets = {"worker": _port_of(worker), "api": _port_of(api)}
    with Prometheus(tmp_path_factory.mktemp("prometheus"), targets) as prometheus:
        assert wait_until(lambda: prometheus.value("sum(up)") == len(targets), DEADLINE_S)
        ended = "sum(imagemill_jobs_ended_total)"
        assert wait_until(lambda: bool(prometheus.ask("query", query=ended)), DEADLINE_S)
        before = prometheus.value(ended)
        _use(api, stack_env)
        assert wait_until(lambda: prometheus.value(ended) >= before + 3, DEADLINE_S)
        counted = ("imagemill_images_total", "imagemill_jobs_failed_total", "imagemill_api_request_seconds_count")
        rates = " * ".join(f"count(rate({each}[1m]) > 0)" for each in counted)
        assert wait_until(lambda: prometheus.value(rates) > 0, DEADLINE_S)
        prometheus.busy_at = time.time()
        yield prometheus


def _use(api: Api, stack_env: dict[str, str]) -> None:
    body = {"prompt": "a red circle", "num_inference_steps": 2}
    for _ in range(2):
        answer = httpx.post(
            f"{api.url}/v1/jobs", json=body, headers={"Prefer": "wait=60"}, timeout=DEADLINE_S, trust_env=False
        )
        assert answer.json()["status"] == "succeeded"
    assert httpx.get(f"{api.url}/v1/jobs/no-such-job", timeout=DEADLINE_S, trust_env=False).status_code == 404
    with Celery("elsewhere", broker=stack_env["IMAGEMILL_REDIS_URL"], set_as_current=False) as app:
        app.send_task("imagemill.generate", kwargs={"prompt": ""}, queue="gpu.shapes-flow")


def _port_of(process: Process) -> int:
    return int(process.env["IMAGEMILL_METRICS_PORT"])


def _metrics_of(process: Process) -> str:
    return httpx.get(f"http://{LOOPBACK}:{_port_of(process)}/metrics", timeout=DEADLINE_S, trust_env=False).text


@pytest.mark.parametrize("query", [*queries.rule_queries(), *queries.dashboard_queries()], ids=str)
def test_every_metric_that_is_asked_for_exists_with_its_labels(query: Query, scrape: dict[str, set[str]]) -> None:
    known = scrape | _OF_PROMETHEUS
    read = queries.selectors(query)
    assert read, "it reads no metric"
    for selector in read:
        assert selector.metric in known, f"{selector.metric} is in no scrape"
        if known[selector.metric]:  # A GPU's metrics have no sample without a GPU.
            assert selector.labels <= known[selector.metric] | _OF_TARGETS
    labels = set().union(*(known[selector.metric] for selector in read))
    assert not labels or queries.grouping_labels(query) <= labels | _OF_TARGETS


def test_no_label_holds_what_clients_make_up(system: Client, worker: Program, api: Api) -> None:
    job = system.submit("an unheard-of prompt", caller="an-unheard-of-caller", num_inference_steps=1)
    job.wait(DEADLINE_S)
    httpx.get(f"{api.url}/v1/jobs/{job.id}", timeout=DEADLINE_S, trust_env=False)
    httpx.get(f"{api.url}/unheard-of", timeout=DEADLINE_S, trust_env=False)
    for process in (worker, api):
        text = _metrics_of(process)
        assert job.id not in text
        assert "unheard-of" not in text


def test_everything_is_named_as_prometheus_asks_for(worker: Program, api: Api) -> None:
    """https://prometheus.io/docs/practices/naming/: one prefix, base units, and `_total` for counters."""
    for process in (worker, api):
        for family in text_string_to_metric_families(_metrics_of(process)):
            assert family.documentation
            assert family.name.startswith(("imagemill_", "process_", "python_"))
            if family.type == "counter":
                assert all(sample.name.endswith("_total") for sample in family.samples)
            assert not family.name.endswith(("_ms", "_mib", "_percent", "_minutes"))


@pytest.mark.parametrize("query", queries.dashboard_queries(), ids=str)
def test_dashboard_gets_an_answer_to_every_query(query: Query, prometheus: Prometheus) -> None:
    prometheus.ask("query", query=query.expression)
    now = time.time()
    prometheus.ask("query_range", query=query.expression, start=str(now - 60), end=str(now), step="5")


@pytest.mark.parametrize("title", _WITH_DATA)
def test_panel_shows_data(title: str, prometheus: Prometheus) -> None:
    found = [query for query in queries.dashboard_queries() if query.where == title]
    assert found, "there is no such panel"
    for query in found:
        shown = prometheus.ask("query", query=query.expression, time=str(prometheus.busy_at))
        values = [float(series["value"][1]) for series in shown]
        assert not all(math.isnan(value) for value in values), f"{query} has {values}"


def test_annotations_and_variables_of_the_dashboard_are_answered(prometheus: Prometheus) -> None:
    described = dashboard()
    for each in described["annotations"]["list"]:
        prometheus.ask("query", query=each["expr"])
    (model,) = [each for each in described["templating"]["list"] if each["name"] == "model"]
    metric = model["definition"].removeprefix("label_values(").split(",")[0]
    assert "shapes-flow" in prometheus.ask("label/model/values", **{"match[]": metric})


def test_prometheus_evaluates_every_rule(prometheus: Prometheus) -> None:
    def healths() -> dict[str, str]:
        groups = prometheus.ask("rules")["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    assert wait_until(lambda: "unknown" not in healths().values(), DEADLINE_S)
    assert healths() == dict.fromkeys([rule["alert"] for rule in queries.alerts()], "ok")


def test_a_healthy_system_wakes_nobody(prometheus: Prometheus, system: Client, system_redis: redis.Redis) -> None:
    failed = [each.name for each in system.workers() if each.state == "failed"]
    for name in failed:  # Other tests had workers that cannot start.
        Fleet(system_redis, system.parts.settings).leave(name)
    assert wait_until(lambda: not prometheus.ask("query", query='imagemill_workers{state="failed"} > 0'), DEADLINE_S)
    for query in queries.rule_queries():
        found = prometheus.ask("query", query=query.expression)
        assert found == [], f"{query} would fire"


def test_documentation_lists_every_metric_as_it_is(worker: Program, api: Api) -> None:
    documented = set(_rows(queries.DOCUMENT.read_text("utf-8"), "imagemill_"))
    shown = {row for process in (worker, api) for row in _described(_metrics_of(process))}
    assert documented == shown


def test_documentation_says_what_to_do_at_each_alert() -> None:
    rows = _rows(queries.DOCUMENT.read_text("utf-8"), "Imagemill")
    assert [row[:2] for row in rows] == [(rule["alert"], rule["labels"]["severity"]) for rule in queries.alerts()]
    for row, rule in zip(rows, queries.alerts(), strict=True):
        action = re.sub(r"{{ \$labels\.(\w+) }}", lambda found: found[1].upper(), rule["annotations"]["action"])
        assert row[3] == action.strip()


def _rows(document: str, prefix: str) -> list[tuple[str, ...]]:
    """Rows of the tables whose first cell is a name with this prefix."""
    cells = [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in document.splitlines()]
    return [(row[0].strip("`"), *row[1:]) for row in cells if row and row[0].startswith(f"`{prefix}")]


def _described(text: str) -> list[tuple[str, ...]]:
    """Name, type, labels and description of each of our metrics, as the documentation's tables have them."""
    rows: list[tuple[str, ...]] = []
    for family in text_string_to_metric_families(text):
        if family.name.startswith("imagemill_"):
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            labels |= {"gpu"} if family.name.startswith("imagemill_gpu_") else set()  # No sample without a GPU.
            name = family.name + ("_total" if family.type == "counter" else "")
            rows.append((name, family.type, ", ".join(sorted(labels)), family.documentation))
    return rows
