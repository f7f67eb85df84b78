"""Images through the API, for callers who cannot reach the store."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.table.table import JobTable
from producer.api.app import create_app
from producer.api.settings import ApiSettings
from producer.keys.store import KeyStore
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store
from tests.claims import claim_job
from tests.integration.producer.api.conftest import DEADLINE_S
from tests.integration.producer.api.test_jobs import IMAGE

BODY = {"prompt": "a large red circle on a blue background"}
KEY, THUMBNAIL_KEY = "files/0.png", "files/0.thumb.webp"
FILE: dict[str, Any] = {**IMAGE, "key": KEY, "thumbnail_key": THUMBNAIL_KEY}


@pytest.fixture
def api_settings() -> ApiSettings:
    return ApiSettings(image_links="api", require_key=True)


@pytest.fixture
def keys(table: JobTable, redis_client: Any, settings: Settings) -> KeyStore:
    return KeyStore(redis_client, settings)


@pytest.fixture
def blog(api: TestClient, keys: KeyStore) -> Iterator[dict[str, str]]:
    yield {"Authorization": f"Bearer {keys.create('blog')[0]}"}


def finished(api: TestClient, table: JobTable, blog: dict[str, str], *images: dict[str, Any]) -> dict[str, Any]:
    job_id = api.post("/v1/jobs", json=BODY, headers=blog).json()["id"]
    claim = claim_job(table, job_id)
    table.finish(claim, Status.SUCCEEDED, artifacts=list(images))
    shown: dict[str, Any] = api.get(f"/v1/jobs/{job_id}", headers=blog).json()
    return shown


def test_links_lead_to_the_api_and_give_the_stored_files(
    api: TestClient, table: JobTable, store: S3Store, blog: dict[str, str]
) -> None:
    store.put(KEY, b"picture", "image/png")
    store.put(THUMBNAIL_KEY, b"small", "image/webp")
    job = finished(api, table, blog, IMAGE | {"thumbnail_key": None}, FILE)
    bare = [each["url"].partition("?")[0] for each in job["images"]]
    assert bare == [f"{job['status_url']}/images/{index}" for index in (0, 1)]
    answer = api.get(job["images"][1]["url"], headers=blog)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"picture", "image/png")
    small = api.get(job["images"][1]["thumbnail_url"], headers=blog)
    assert (small.status_code, small.content, small.headers["content-type"]) == (200, b"small", "image/webp")


def test_what_is_no_image_is_fetched_as_a_file(
    api: TestClient, table: JobTable, store: S3Store, keys: KeyStore, blog: dict[str, str]
) -> None:
    store.put("files/1.html", b"<b>bold</b>", "text/html")
    other = {"key": "files/1.html", "content_type": "text/html", "bytes": 11, "sha256": "00", "name": "page"}
    job = finished(api, table, blog, FILE, other)
    (artifact,) = job["artifacts"]
    assert artifact["url"].partition("?")[0] == f"{job['status_url']}/artifacts/0"
    answer = api.get(artifact["url"], headers=blog)
    assert (answer.content, answer.headers["content-disposition"]) == (b"<b>bold</b>", "attachment")
    assert answer.headers["content-type"].startswith("text/html")
    assert api.get(f"{job['status_url']}/artifacts/1", headers=blog).status_code == 404
    shop = {"Authorization": f"Bearer {keys.create('shop')[0]}"}
    bare = artifact["url"].partition("?")[0]
    assert api.get(bare, headers=shop).json()["error"]["code"] == "job_not_found"


def test_what_is_not_there_is_answered_with_404(
    api: TestClient, table: JobTable, store: S3Store, blog: dict[str, str]
) -> None:
    job = finished(api, table, blog, FILE | {"key": "files/gone.png", "thumbnail_key": None})
    images = f"{job['status_url']}/images"
    codes = {"0": "image_not_found", "1": "not_found", "0/thumbnail": "not_found"}
    for path, code in codes.items():
        answer = api.get(f"{images}/{path}", headers=blog)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, code)
    assert api.get(f"{images}/first", headers=blog).json()["error"]["field"] == "index"


def test_images_of_another_key_are_answered_as_if_they_were_not_there(
    api: TestClient, table: JobTable, keys: KeyStore, blog: dict[str, str]
) -> None:
    job = finished(api, table, blog, FILE)
    shop = {"Authorization": f"Bearer {keys.create('shop')[0]}"}
    bare = job["images"][0]["url"].partition("?")[0]
    assert api.get(bare, headers=shop).json()["error"]["code"] == "job_not_found"
    assert api.get(bare).status_code == 401


def test_link_is_as_good_whatever_comes_along_where_a_store_refuses_a_key_beside_its_own(
    api: TestClient, table: JobTable, store: S3Store, keys: KeyStore, blog: dict[str, str]
) -> None:
    store.put(KEY, b"picture", "image/png")
    store.put(THUMBNAIL_KEY, b"small", "image/webp")
    (image,) = finished(api, table, blog, FILE)["images"]
    shop = {"Authorization": f"Bearer {keys.create('shop')[0]}"}
    assert httpx.get(store.link(KEY, "image/png"), headers=blog, trust_env=False, timeout=DEADLINE_S).status_code == 400
    for along in ({}, blog, shop, {"Authorization": "Bearer im_nonsense"}, {"Authorization": "Basic YTpi"}):
        assert api.get(image["url"], headers=along).content == b"picture"
        assert api.get(image["thumbnail_url"], headers=along).content == b"small"
        assert api.head(image["url"], headers=along).headers["content-length"] == "7"


def test_link_opens_nothing_else_and_ends_with_its_key(
    api: TestClient, table: JobTable, store: S3Store, keys: KeyStore, blog: dict[str, str]
) -> None:
    store.put(KEY, b"picture", "image/png")
    job, other = (finished(api, table, blog, FILE, FILE) for _ in range(2))
    url, (bare, _, permission) = job["images"][0]["url"], job["images"][0]["url"].partition("?")
    expires, _, signature = permission.removeprefix("permit=").partition(".")
    wrong = [
        f"{bare}?permit={expires}.{signature[:-1]}{'0' if signature[-1] != '0' else '1'}",
        f"{bare}?permit={int(expires) + 1}.{signature}",
        f"{job['images'][1]['url'].partition('?')[0]}?{permission}",
        f"{other['images'][0]['url'].partition('?')[0]}?{permission}",
        f"{bare.replace(job['id'], str(uuid.uuid4()))}?{permission}",
        f"{bare}/thumbnail?{permission}",
    ]
    for each in wrong:
        assert (api.get(each).status_code, api.get(each).json()["error"]["code"]) == (401, "invalid_api_key"), each
    assert [api.get(each, headers=blog).status_code for each in wrong[:2]] == [200, 200]
    assert api.get(f"{bare}?permit={expires}", headers=blog).json()["error"]["field"] == "permit"
    assert api.get(f"{job['status_url']}?{permission}").json()["error"]["field"] == "permit"
    keys.revoke("blog")
    assert api.get(url).status_code == 401


def test_links_lead_to_the_store_unless_told_otherwise(
    settings: Settings, storage_settings: S3Settings, store: S3Store, table: JobTable
) -> None:
    with TestClient(create_app(settings, storage_settings), base_url="http://127.0.0.1") as api:
        job = finished(api, table, {}, FILE)
    assert job["images"][0]["url"].startswith(f"{storage_settings.endpoint_url}/")


def test_api_that_requires_a_key_is_closed_while_there_is_none(api: TestClient) -> None:
    assert api.get("/v1/jobs").status_code == 401
    assert api.get("/health").status_code == 200
