"""What goes wrong inside is told in sentences of the API's own: no address, path, setting or exception leaves it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.blackbox.conftest import MakeSystem
from tests.blackbox.outside import GENERATE, PROMPT, QUEUE, fill, make_room
from tests.blackbox.system import Answer, System, simulated, until

INJECTION = Path(__file__).parent / "injection"
PICTURES = "/v1/images/generations"
LINKS = {"IMAGEMILL_API_IMAGE_LINKS": "api"}  # Else each link has the store's address, as it should.


DAMAGED = """
[models.damaged]
source = "{folder}"
revision = "test"
dtype = "float32"
family = "stable-diffusion"
schedulers = ["ddim"]
defaults = {{ width = 64, height = 64, num_inference_steps = 5, guidance_scale = 1.0, scheduler = "ddim" }}
limits = {{ min_side = 64, max_side = 256, side_multiple = 8, max_steps = 1000, max_n = 4 }}
"""


def inside(system: System, text: str) -> list[str]:
    """What of `text` names something that is none of a tenant's business."""
    servers = [urlsplit(each).netloc for each in (system.redis_server.url, system.s3_server.endpoint)]
    found = [each for each in (*servers, str(system.folder), "10.9.8.7", "/srv/", "/home/") if each in text]
    return found + re.findall(r"\w+(?:Error|Exception|Unavailable|Misconfigured|Full)\b|Traceback|IMAGEMILL_\w+", text)


def check(system: System, answer: Answer, status: int, code: str) -> None:
    """The answer says what is wrong, and nothing more."""
    text = json.dumps(answer.body)
    assert (answer.status, code in text) == (status, True), text
    assert inside(system, text) == []


def assert_nothing_inside(system: System, answer: Answer) -> None:
    """Whoever runs the API finds the reason by what the answer has."""
    request_id = {name.lower(): value for name, value in answer.headers.items()}["x-request-id"]
    api = system.api
    assert api is not None
    until("the log has the reason", lambda: any(request_id in each and "reason=" in each for each in api.lines))


def failed(system: System, job_id: str) -> dict[str, Any]:
    """A job that failed, whose record, events and result say nothing of what is inside."""
    job = system.end_of(job_id)
    assert job["status"] == "failed"
    assert inside(system, json.dumps(job)) == []
    return dict(job["error"])


def test_a_failed_job_names_no_path_and_no_exception(make_system: MakeSystem, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    (folder / "model_index.json").write_text("no JSON")
    system = make_system(simulated() + DAMAGED.format(folder=folder), env=LINKS)
    system.serve()
    cannot_start = system.worker("--model", "damaged", is_ready=False)
    broken = tmp_path / "broken"
    worker = system.worker(
        *("--model", "sim"),
        env={
            "PYTHONPATH": str(INJECTION),
            "BREAK_LIBRARIES_WHILE": str(broken),
            "IMAGEMILL_RESULT_BACKEND_URL": system.redis_server.url,
        },
    )
    app = system.celery()
    for library in ("numpy", "pillow"):  # in the engine, and behind it
        broken.write_text(library)
        job_id = system.submit()
        assert failed(system, job_id)["code"] == "generation_error"
        until("its log has the reason", lambda: worker.printed(f"{job_id}.*/srv/models/secret-model"))  # noqa: B023
        sent = app.send_task(GENERATE, kwargs={"prompt": PROMPT}, queue=QUEUE)
        with pytest.raises(Exception, match="generation_error") as raised:
            sent.get(timeout=120)
        assert inside(system, str(raised.value)) == []
        answer = system.http("POST", PICTURES, {"prompt": PROMPT, "model": "sim"})
        check(system, answer, 500, "generation_error")
    cannot_start.wait_for_exit()
    assert cannot_start.printed(str(folder))
    waits = system.submit(model="damaged")
    for path in ("/ready", "/v1/models", "/v1/queues", f"/v1/jobs/{waits}", "/v1/jobs"):
        assert inside(system, json.dumps(system.http("GET", path).body)) == [], path


def test_a_job_whose_picture_cannot_be_kept_names_no_folder(make_system: MakeSystem) -> None:
    system = make_system(simulated(), env=LINKS)
    system.serve()
    worker = system.worker()
    done = system.submit()
    assert system.end_of(done)["status"] == "succeeded"
    system.s3_server.stop()
    for folder in (system.folder / "spool").glob("*/"):
        folder.joinpath("images").write_text("a file where the folder should be")
    job_id = system.submit()
    assert failed(system, job_id)["code"] == "storage_unavailable"
    until("its log has the reason", lambda: worker.printed(f"{job_id}.*SpoolFull"))
    answer = system.http("GET", f"/v1/jobs/{done}/images/0")
    check(system, answer, 503, "storage_unavailable")
    assert_nothing_inside(system, answer)


def test_a_store_that_refuses_the_api_is_not_named(make_system: MakeSystem) -> None:
    system = make_system(simulated(), env=LINKS)
    system.worker()
    system.serve()
    done = system.submit()
    assert system.end_of(done)["status"] == "succeeded"
    system.serve(env={"IMAGEMILL_S3_SECRET_ACCESS_KEY": "wrong"})
    answer = system.http("GET", f"/v1/jobs/{done}/images/0")
    check(system, answer, 500, "misconfigured")
    assert_nothing_inside(system, answer)
    ready = system.http("GET", "/ready")
    assert ready.body["storage"] == "refuses"


def test_a_redis_that_is_full_or_away_is_not_named(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    system.serve()
    done = system.submit()
    document = system.http("GET", "/openapi.json").body
    client = system.redis()
    fill(client, 0.99)
    line = {"prompt": PROMPT, "model": "sim"}

    def refused() -> Answer | None:
        answer = system.http("POST", "/v1/jobs", line)
        return answer if answer.status == 429 else None

    answer = until("it is full", refused)
    check(system, answer, 429, "system_full")
    assert_nothing_inside(system, answer)
    check(system, system.http("POST", PICTURES, line), 429, "system_full")
    check(system, system.http("POST", "/v1/jobs/batch", [line, line]), 200, "system_full")  # in its lines
    make_room(client)
    system.redis_server.stop()
    for path, methods in document["paths"].items():
        for method in methods:
            ids = {"job_id": done, "batch_id": done, "file_id": "file-" + "a" * 24}
            where = path.format(**ids, index=0, model=QUEUE, model_id="sim")
            answer = system.http(method.upper(), where, line if method in ("post", "patch") else None)
            assert inside(system, json.dumps(answer.body)) == [], where
            if answer.status == 503 and path.startswith("/v1"):
                assert_nothing_inside(system, answer)
