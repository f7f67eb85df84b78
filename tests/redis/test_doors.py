"""All that connects to Redis, through TLS and through Sentinels: a job's whole way, and who watches it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from jobs.broker.app import make_app
from jobs.names import GENERATE_TASK, line_of
from jobs.table.states import Status
from ops.programs import Api, Flower
from tests.faults.harness.audit import audit
from tests.faults.harness.system import MODEL, QUEUE, System
from tests.faults.harness.waiting import until
from tests.redis.conftest import Behind
from tests.redis.servers import program_with_tls

DOORS = ["tls", "sentinels with tls"] if program_with_tls() else ["sentinels"]
LOGIN = "somebody:secret"


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery 5.7 makes it.
def test_job_goes_its_whole_way_and_everybody_sees_it(behind: Behind, door: str, tmp_path: Path) -> None:
    system, _ = behind(door)
    system.worker()
    key = json.loads(system.cli("keys", "create", "ada", "--rate", "100/minute", "--json").stdout)["key"]
    with (
        Api(0, system.env) as api,
        Flower(tmp_path / "flower", 0, {**system.env, "FLOWER_BASIC_AUTH": LOGIN}) as flower,
    ):
        system.ready()
        [job] = system.submit(1)
        assert job.wait(timeout_s=60).status is Status.SUCCEEDED
        asked = {"prompt": "a picture", "model": MODEL}
        waited = call(f"{api.url}/v1/jobs", asked, {"Authorization": f"Bearer {key}", "Prefer": "wait=60"})
        assert waited["status"] == "succeeded"
        assert generate_by_celery_alone(system)["images"]
        audit(system, [job, system.client.job(waited["id"])])
        queues = until("Flower has asked Redis", lambda: lengths_in(flower))
        assert {"name": line_of(QUEUE), "messages": 0} in queues["active_queues"]
        findings = [json.loads(line) for line in system.cli("doctor", "--json").stdout.splitlines()]
        of_redis = [each for each in findings if each["check"].startswith("Redis")]
        assert len(of_redis) > 3
        assert {each["state"] for each in of_redis} <= {"ok", "information"}, of_redis


def generate_by_celery_alone(system: System) -> dict[str, Any]:
    """As somebody else's program does, who has the app's settings and a result backend."""
    with make_app(system.settings) as app:
        result = app.send_task(GENERATE_TASK, kwargs={"prompt": "a picture", "model": MODEL}, queue=QUEUE)
        answer: dict[str, Any] = result.get(timeout=60)
        return answer


def lengths_in(flower: Flower) -> Any:
    """None while Flower's own connection takes too long, of which it makes a 500."""
    with suppress(urllib.error.HTTPError):
        return call(f"{flower.url}/api/queues/length", None, {"Authorization": basic(LOGIN)})


def call(url: str, body: dict[str, Any] | None, headers: dict[str, str]) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})  # noqa: S310 - ours
    with urllib.request.urlopen(request, timeout=90) as response:  # noqa: S310
        answer: dict[str, Any] = json.load(response)
        return answer


def basic(login: str) -> str:
    from base64 import b64encode

    return f"Basic {b64encode(login.encode()).decode()}"
