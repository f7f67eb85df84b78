"""What is sent along with a request: what stays of it, whose it is, and several pictures of one edit."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest
import redis
from fastapi.testclient import TestClient

from jobs.deletions.deletions import Deletions, inputs_of
from jobs.errors import FileNotFound, InvalidRequest
from jobs.inputs.files import Files
from jobs.inputs.find import Finder
from jobs.inputs.holding import FETCHED_S, KEPT_S, Holder, Requester
from jobs.inputs.sent import SentInputs
from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.table.table import JobTable
from jobs.view import view_of
from producer import Client
from storage.backends.s3.store import S3Store
from storage.inputs import Inputs
from tests.integration.producer.api.conftest import DEADLINE_S, MakeKey
from tests.integration.producer.api.pictures import png
from tests.integration.producer.api.test_jobs import IMAGE, PROMPT
from tests.integration.producer.api.test_openai import end, error_of, only_job

SEVERAL = """
[models.several]
source = "somewhere"
revision = "1"
dtype = "float32"
family = "diffusers"
schedulers = ["default"]
edits = { image = "instruction" }
defaults = { width = 64, height = 64, num_inference_steps = 2, guidance_scale = 3.0, scheduler = "default" }
limits = { min_side = 64, max_side = 1024, max_steps = 50, max_n = 2, max_references = 3 }
"""
EDIT: dict[str, Any] = {"kind": "edit", "prompt": PROMPT, "model": "several"}
NONE = "file-" + "a" * 24


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    models = tmp_path / "models.toml"
    models.write_text(SEVERAL, "utf-8")
    return settings.model_copy(update={"models_file": models})


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def inline(data: bytes | None = None) -> str:
    return f"data:image/png;base64,{base64.b64encode(data or png()).decode()}"


def upload(api: TestClient, data: bytes, key: dict[str, str] | None = None) -> str:
    sent = api.post("/v1/files", data={"purpose": "vision"}, files={"file": ("a.png", data)}, headers=key)
    return str(sent.json()["id"])


# What stays.

Ask = Callable[[TestClient, dict[str, str]], httpx.Response]

REFUSED: dict[str, tuple[int, Ask]] = {
    "a dry run": (
        200,
        lambda api, key: api.post("/v1/jobs?dry_run=true", json={**EDIT, "image": inline()}, headers=key),
    ),
    "a bad prompt": (422, lambda api, key: api.post("/v1/jobs", json={**EDIT, "prompt": "", "image": inline()})),
    "a bad picture beside it": (
        422,
        lambda api, key: api.post("/v1/jobs", json={**EDIT, "image": inline(), "references": [inline(), NONE]}),
    ),
    "a mask of another shape": (
        422,
        lambda api, key: api.post("/v1/jobs", json={**EDIT, "image": inline(), "mask": inline(png(width=9))}),
    ),
    "too many pictures": (
        422,
        lambda api, key: api.post("/v1/jobs", json={**EDIT, "image": inline(), "references": [inline()] * 4}),
    ),
    "more than any model takes": (
        422,
        lambda api, key: api.post("/v1/jobs", json={**EDIT, "image": inline(), "references": [inline()] * 16}),
    ),
    "over its quota": (429, lambda api, key: api.post("/v1/jobs", json={**EDIT, "image": inline()}, headers=key)),
    "over its quota, in a batch": (
        200,
        lambda api, key: api.post("/v1/jobs/batch", json=[{**EDIT, "image": inline()}], headers=key),
    ),
    "over its quota, as OpenAI's clients name it": (
        429,
        lambda api, key: api.post(
            "/v1/images/edits", json={"prompt": PROMPT, "images": [{"image_url": inline()}]}, headers=key
        ),
    ),
    "over its quota, in a form": (
        429,
        lambda api, key: api.post(
            "/v1/images/edits", data={"prompt": PROMPT}, files=[("image[]", png()), ("image[]", png())], headers=key
        ),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_stays_of_what_came_with_a_refused_request(
    api: TestClient, make_key: MakeKey, nothing_stays: Callable[[], bool], name: str
) -> None:
    key = make_key("full", max_queued=1)
    assert api.post("/v1/jobs", json={"prompt": PROMPT}, headers=key).status_code == 202
    status, ask = REFUSED[name]
    api.headers.update(key)
    answer = ask(api, key)
    assert answer.status_code == status, answer.text
    assert nothing_stays()


def test_file_that_was_there_before_stays_when_a_request_with_it_is_refused(
    api: TestClient, make_key: MakeKey, files: Files
) -> None:
    key, image = make_key("full", max_queued=1), inline()
    first = api.post("/v1/jobs", json={**EDIT, "image": image}, headers=key).json()
    assert api.post("/v1/jobs", json={**EDIT, "image": image}, headers=key).status_code == 429
    assert [each.id for each in files.list("full", limit=9)] == [first["parameters"]["image"]["file"]]


def test_request_that_is_repeated_brings_no_other_file(api: TestClient, files: Files) -> None:
    body, key = {**EDIT, "image": inline()}, {"Idempotency-Key": "order-12"}
    first, again = (api.post("/v1/jobs", json=body, headers=key).json() for _ in range(2))
    assert first["id"] == again["id"]
    assert [each.id for each in files.list("default", limit=9)] == [first["parameters"]["image"]["file"]]


class Racing(Files):
    """The file of the first job goes as the second is about to hold it."""

    goes: Callable[[str], None] | None = None

    def use(self, file_id: str, job_id: str, kept_s: float = 0.0) -> None:
        if self.goes is not None:
            goes, self.goes = self.goes, None
            goes(file_id)
        super().use(file_id, job_id, kept_s)


def test_picture_that_is_sent_again_as_its_file_goes_is_kept_again(
    settings: Settings, client: Client, redis_client: redis.Redis, store: S3Store, table: JobTable
) -> None:
    files, inputs = Racing(redis_client, settings), Inputs(store)
    finder = Finder(settings, table=table, files=files, objects=store, files_in_store=inputs)
    fields = {**EDIT, "image": png()}
    prepare = client.parts.submitter.prepare
    first, second = (prepare(finder.find(fields, scope=None, owner="default")) for _ in range(2))
    table.submit(held := finder.holder.hold(first))
    table.cancel(held.job_id)
    files.goes = lambda file_id: SentInputs(files, inputs).forget(held.job_id, [file_id])
    again = finder.holder.hold(second)
    assert files.goes is None
    with pytest.raises(FileNotFound):
        files.get(held.files[0], None)
    assert inputs.read(again.files[0]) == fields["image"]
    finder.holder.give_up(again)
    assert files.list(None, limit=9) == []


def test_picture_that_was_fetched_goes_soon_where_no_job_comes_of_it(
    client: Client, files: Files, store: S3Store
) -> None:
    holder, prepare = Holder(files, Inputs(store)), client.parts.submitter.prepare
    requester = Requester(scope=None, owner="default", max_mib=None, fetches_until=0.0)

    def kept_s() -> float:
        (file,) = files.list("default", limit=9)
        assert file.expires_at is not None
        return file.expires_at - time.time()

    fields = {**EDIT, "image": holder.fetched(data := png(), requester)}
    with pytest.raises(InvalidRequest):
        prepare({**fields, "prompt": ""})
    assert 0 < kept_s() <= FETCHED_S
    held = holder.hold(prepare({**fields, "image": holder.fetched(data, requester)}))  # As the next request finds it.
    assert KEPT_S - DEADLINE_S < kept_s() <= KEPT_S
    holder.give_up(held)  # The first request brought it, not this one.
    assert KEPT_S - DEADLINE_S < kept_s() <= KEPT_S


# Several pictures.


def test_several_pictures_are_found_each_by_its_way_and_held(
    api: TestClient, table: JobTable, files: Files, store: S3Store, redis_client: redis.Redis, settings: Settings
) -> None:
    pictures = [png() for _ in range(4)]
    uploaded = upload(api, pictures[1])
    body = {
        **EDIT,
        "image": inline(pictures[0]),
        "references": [uploaded, inline(pictures[2]), {"data": inline(pictures[3])}],
    }
    job = api.post("/v1/jobs", json=body).json()
    record = table.get(job["id"])
    spec: Any = view_of(record).spec
    named = [spec.image, *spec.references]
    assert [Inputs(store).read(each.file) for each in named] == pictures
    assert [each["file"] for each in job["parameters"]["references"]] == [each.file for each in spec.references]
    assert inputs_of(record) == tuple(each.file for each in named)
    for each in named:
        assert api.delete(f"/v1/files/{each.file}").json()["error"]["code"] == "file_in_use"
    table.cancel(job["id"])
    Deletions(redis_client, settings).delete(job["id"])
    SentInputs(files, Inputs(store)).forget(job["id"], inputs_of(record))
    assert [each.id for each in files.list(None, limit=9)] == [uploaded]


def test_picture_of_another_key_is_refused_by_its_place_as_one_that_there_is_not(
    api: TestClient, make_key: MakeKey
) -> None:
    owner, other = make_key("owner"), make_key("other")
    secret, own = upload(api, png(), owner), upload(api, png(), other)
    job = api.post("/v1/jobs", json={**EDIT, "image": secret}, headers=owner).json()["id"]
    for named, none, says in (
        (secret, NONE, f"references.1: there is no file {NONE}"),
        ({"job": job}, {"job": "none"}, "references.1: there is no job none"),
    ):
        said = [
            api.post("/v1/jobs", json={**EDIT, "image": own, "references": [own, each]}, headers=other).json()["error"]
            for each in (named, none)
        ]
        assert said[0]["field"] == "references.1"
        assert said[1]["message"].startswith(says)
        assert said[0]["message"].replace(secret, NONE).replace(job, "none") == said[1]["message"]


def test_several_pictures_of_openais_client_are_the_one_that_is_edited_and_those_that_are_looked_at(
    replica: str, table: JobTable, redis_client: redis.Redis, store: S3Store, pool: ThreadPoolExecutor
) -> None:
    store.put("a/0.png", b"picture", "image/png")
    pictures = [png() for _ in range(4)]
    with openai.OpenAI(base_url=f"{replica}/v1", api_key="none", max_retries=0, timeout=DEADLINE_S) as client:
        sent = [("a.png", BytesIO(each)) for each in pictures]
        waiting = pool.submit(lambda: client.images.edit(image=sent, prompt=PROMPT, model="several"))
        record = only_job(table, redis_client)
        spec: Any = view_of(record).spec
        assert [Inputs(store).read(each.file) for each in (spec.image, *spec.references)] == pictures
        end(table, record, artifacts=[IMAGE])
        data = waiting.result(DEADLINE_S).data
        assert data is not None
        assert data[0].b64_json == base64.b64encode(b"picture").decode()
        with pytest.raises(openai.BadRequestError, match="takes at most 4 pictures for an edit; 5 were sent") as wrong:
            client.images.edit(image=[*sent, ("a.png", BytesIO(png()))], prompt=PROMPT)
        assert wrong.value.param == "image"


def test_several_pictures_in_openais_json(
    api: TestClient, table: JobTable, redis_client: redis.Redis, pool: ThreadPoolExecutor
) -> None:
    named = [upload(api, png()) for _ in range(3)]
    body = {"prompt": PROMPT, "images": [{"file_id": each} for each in named]}
    waiting = pool.submit(lambda: api.post("/v1/images/edits", json=body))
    record = only_job(table, redis_client)
    spec: Any = view_of(record).spec
    assert [each.file for each in (spec.image, *spec.references)] == named
    table.cancel(record.id)
    assert error_of(waiting.result(DEADLINE_S))["code"] == "canceled"
    assert table.get(record.id).status is Status.CANCELED
    missing = api.post("/v1/images/edits", json={**body, "images": [*body["images"], {"file_id": NONE}]})
    assert error_of(missing)["message"].startswith(f"images: there is no file {NONE}")
