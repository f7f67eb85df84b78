"""What one key has sent or made, no other key sees, uses or guesses, by any form of input."""

from __future__ import annotations

import base64
import io
from typing import Any

import boto3
import pytest
from botocore.config import Config
from PIL import Image

from tests.blackbox.conftest import MakeSystem
from tests.blackbox.system import BUCKET, System, simulated, until

OBJECTS = "shared/, own/{caller}/"


def png(colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


def inline(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


@pytest.fixture
def system(make_system: MakeSystem) -> System:
    system = make_system(simulated())
    system.serve(env={"IMAGEMILL_INPUT_OBJECTS": OBJECTS})
    return system


class Bucket:
    """The system's, as anybody sees it who has its keys."""

    def __init__(self, system: System) -> None:
        server = system.s3_server
        self._client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            aws_access_key_id=server.access_key_id,
            aws_secret_access_key=server.secret_access_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )

    def put(self, key: str, data: bytes) -> None:
        """An object of the operator's own."""
        self._client.put_object(Bucket=BUCKET, Key=key, Body=data, ContentType="image/png")

    def objects(self) -> set[str]:
        """All keys."""
        return {each["Key"] for each in self._client.list_objects_v2(Bucket=BUCKET).get("Contents", ())}


def refusal(system: System, image: Any, key: str) -> str:
    """Why an edit of it is refused; as a mask, in a batch and as a dry run it is refused alike."""
    body = {"kind": "edit", "prompt": "a red circle", "image": image}
    answer = system.http("POST", "/v1/jobs", body, key)
    assert answer.status == 422, answer.body
    said = str(answer.body["error"]["message"])
    dry = system.http("POST", "/v1/jobs?dry_run=true", body, key)
    masked = system.http("POST", "/v1/jobs", {**body, "image": inline(png()), "mask": image}, key)
    batch = system.http("POST", "/v1/jobs/batch", [body], key)
    assert dry.body["error"]["message"] == said
    assert masked.body["error"]["message"] == said.replace("image", "mask", 1)
    assert batch.body[0]["error"]["message"] == said
    return said


def test_no_key_uses_what_another_has(system: System) -> None:
    system.worker()
    one, two = system.key("one"), system.key("two")
    store = Bucket(system)
    for key in ("shared/a.png", "own/one/a.png", "elsewhere/a.png"):
        store.put(key, png())
    job = system.http("POST", "/v1/jobs", {"kind": "edit", "prompt": "x", "image": inline(png())}, one).body
    file_id = job["parameters"]["image"]["file"]
    until("it has succeeded", lambda: system.job(job["id"], one)["status"] == "succeeded")

    for named in (file_id, {"job": job["id"]}, {"object": "own/one/a.png"}, {"object": "shared/a.png"}):
        body = {"kind": "edit", "prompt": "x", "image": named}
        assert system.http("POST", "/v1/jobs", body, one).status == 202, named

    none = "file-" + "a" * 24
    assert refusal(system, file_id, two).replace(file_id, none) == refusal(system, none, two)
    assert refusal(system, {"job": job["id"]}, two) == f"image: there is no job {job['id']}"
    assert refusal(system, {"job": "none"}, two) == "image: there is no job none"
    own = "image: the operator lets jobs have no objects of that name"
    result = system.job(job["id"], one)["images"][0]["key"] if "key" in job else f"x/{job['id']}/0.png"
    for key in ("own/one/a.png", "own/two/../one/a.png", "elsewhere/a.png", f"inputs/aa/{file_id}", result):
        assert refusal(system, {"object": key}, two) == own, key
    assert refusal(system, {"object": "own/two//a.png"}, two) == own
    assert (
        refusal(system, {"object": "shared/none.png"}, two)
        == "image: there is no object 'shared/none.png' in the store"
    )
    assert refusal(system, "https://127.0.0.1/a.png", two).startswith("image: URLs are not fetched here")


def test_the_same_bytes_are_one_file_of_a_caller_and_two_of_two(system: System) -> None:
    one, two = system.key("one"), system.key("two")
    sent = {"kind": "edit", "prompt": "x", "image": inline(png((1, 2, 3)))}
    files = [system.http("POST", "/v1/jobs", sent, key).body["parameters"]["image"]["file"] for key in (one, one, two)]
    assert files[0] == files[1] != files[2]


def test_what_is_no_picture_is_refused_at_once_with_a_sentence(system: System) -> None:
    key = system.key("one")
    for image, says in (
        (inline(b""), "the file is empty"),
        (inline(b"GIF89a" + bytes(50)), "this is no PNG, JPEG or WebP file"),
        (inline(png()[:-20]), "the file is broken or not complete: its end is missing"),
        ("data:image/png;base64,!!!!", "what is behind base64, is not base64"),
        ("data:image/png,abc", "this is no data URL: write data:image/png;base64, and the file in base64"),
        ({"job": "a job"}, None),
        ({"data": "x"}, None),
    ):
        said = refusal(system, image, key)
        assert said.startswith("image"), said
        assert says is None or said == f"image: {says}"


def test_a_job_that_has_not_succeeded_has_no_picture_to_edit(system: System) -> None:
    key = system.key("one")
    job = system.submit(key)
    says = f"image: job {job} has not ended; submit this when it has succeeded"
    assert refusal(system, {"job": job}, key) == says
    system.http("DELETE", f"/v1/jobs/{job}", None, key)
    until("it is canceled", lambda: system.job(job, key)["status"] == "canceled")
    assert refusal(system, {"job": job}, key) == f"image: job {job} has not succeeded"


def test_what_came_with_a_job_goes_with_its_result_unless_another_job_needs_it(system: System) -> None:
    system.worker()
    key, store = system.key("one"), Bucket(system)
    sent = {"kind": "edit", "prompt": "x", "image": inline(png())}
    first, second = (system.http("POST", "/v1/jobs", sent, key).body for _ in range(2))
    file_id = first["parameters"]["image"]["file"]
    waiting = system.http("POST", "/v1/jobs", {**sent, "image": file_id, "start_after": 3600}, key).body["id"]
    assert second["parameters"]["image"]["file"] == file_id
    for job in (first["id"], second["id"]):
        until("it has ended", lambda: system.job(job, key)["status"] == "succeeded")  # noqa: B023
    assert system.http("DELETE", f"/v1/jobs/{first['id']}/result", None, key).status in (200, 202)
    until("its pictures are gone", lambda: not any(first["id"] in each for each in store.objects()))
    assert system.http("GET", f"/v1/files/{file_id}", None, key).status == 200
    system.http("DELETE", f"/v1/jobs/{waiting}", None, key)
    until("it is canceled", lambda: system.job(waiting, key)["status"] == "canceled")
    assert system.http("DELETE", f"/v1/jobs/{second['id']}/result", None, key).status in (200, 202)
    until("the file is gone", lambda: not any(file_id in each for each in store.objects()))
    assert system.http("GET", f"/v1/files/{file_id}", None, key).status == 404


def test_what_comes_with_jobs_counts_among_the_files_of_a_key(system: System) -> None:
    """A file counts 64 KiB at least: sixteen are a MiB."""
    key, store = system.key("one", "--max-files", "1"), Bucket(system)
    for level in range(16):
        sent = {"kind": "edit", "prompt": "x", "image": inline(png((level, 0, 0)))}
        assert system.http("POST", "/v1/jobs", sent, key).status == 202
    stored = store.objects()
    full = system.http("POST", "/v1/jobs", {"kind": "edit", "prompt": "x", "image": inline(png((99, 0, 0)))}, key)
    assert (full.status, full.body["error"]["code"]) == (409, "file_quota_exceeded"), full.body
    assert store.objects() == stored
