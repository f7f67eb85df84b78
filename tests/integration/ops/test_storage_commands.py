"""`./imagemill storage`, on a real store and a real job table."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs.process.settings import Settings
from jobs.redis.connection import connect
from jobs.table.claim import Claim
from jobs.table.reader import JobReader
from jobs.table.states import Status
from jobs.table.table import JobTable
from ops.cli import app
from ops.orphans import find_orphans
from producer import Client
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store
from storage.keys import AttemptFolder
from tests.claims import claim_job

HOUR_S = 3600.0


@pytest.fixture
def image_store(storage_settings: S3Settings) -> S3Store:
    """Under a prefix of its own, for others use the bucket, too."""
    store = S3Store(storage_settings.model_copy(update={"prefix": f"orphans-{uuid.uuid4().hex[:8]}"}))
    store.prepare()
    return store


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, settings: Settings, image_store: S3Store) -> None:
    monkeypatch.setenv("IMAGEMILL_REDIS_URL", settings.redis_url)
    for name in ("endpoint_url", "bucket", "prefix"):
        monkeypatch.setenv(f"IMAGEMILL_S3_{name.upper()}", getattr(image_store.settings, name))


def run(*args: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["storage", *args, "--json"])
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def claim(client: Client, table: JobTable) -> Claim:
    """A claim of a new job."""
    job = client.submit("a red circle", model="shapes-flow")
    return claim_job(table, job.id)


def folder_of(claim: Claim, store: S3Store, token: str = "") -> AttemptFolder:
    return AttemptFolder(
        prefix=store.settings.prefix,
        job_id=claim.job_id,
        created_at=claim.record.created_at,
        epoch=claim.epoch,
        token=token or claim.token,
    )


def upload(store: S3Store, folder: AttemptFolder, *, is_whole: bool = True) -> list[str]:
    keys = [folder.image(0, "png"), *([folder.manifest()] if is_whole else [])]
    for key in keys:
        store.put(key, b"here", "image/png")
    return keys


def published(claim: Claim, table: JobTable, store: S3Store) -> list[str]:
    keys = upload(store, folder_of(claim, store))
    image = {"content_type": "image/png", "width": 1, "height": 1, "bytes": 4, "sha256": "", "seed": 0, "key": keys[0]}
    table.finish(claim, Status.SUCCEEDED, artifacts=[image])
    return keys


def test_only_what_was_never_published_and_never_will_be_is_found(
    client: Client, table: JobTable, settings: Settings, image_store: S3Store
) -> None:
    store = image_store
    first, running, failed, gone = (claim(client, table) for _ in range(4))
    kept = published(first, table, store)
    orphans = upload(store, folder_of(first, store, "f00d"))  # The attempt that was too late.
    kept += upload(store, folder_of(running, store), is_whole=False)
    kept += upload(store, folder_of(running, store, "f00d"))
    orphans += upload(store, folder_of(failed, store), is_whole=False)
    table.finish(failed, Status.FAILED, error={"code": "generation_error", "message": "broken"})
    kept += upload(store, folder_of(gone, store))
    orphans += upload(store, folder_of(gone, store, "f00d"), is_whole=False)
    with connect(settings) as redis_client:
        redis_client.delete(f"imagemill:job:{gone.job_id}")
    foreign = [f"{store.settings.prefix}/doctor/{uuid.uuid4()}", f"{store.settings.prefix}2/2026/01/01/a-job/1-a/0.png"]
    for key in foreign:
        store.put(key, b"here", "image/png")

    found = find_orphans(store, JobReader(connect(settings), settings), time.time() + 2 * HOUR_S, HOUR_S)
    assert sorted(each.key for folder in found for each in folder.objects) == sorted(orphans)
    found = find_orphans(store, JobReader(connect(settings), settings), time.time(), HOUR_S)
    assert [folder.path for folder in found] == [], "all of it was stored a moment ago"


@pytest.mark.usefixtures("environment")
def test_commands_tell_and_delete_nothing_young(client: Client, table: JobTable, image_store: S3Store) -> None:
    found = claim(client, table)
    published(found, table, image_store)
    late = upload(image_store, folder_of(found, image_store, "f00d"))
    assert run("orphans", "--delete", "--older-than", "1") == {"objects": 0, "bytes": 0, "deleted": True}
    assert run("sweep", "--days", "1", "--dry-run") == {"objects": 0, "bytes": 0, "deleted": False}
    assert run("sweep", "--days", "1") == {"objects": 0, "bytes": 0, "deleted": True}
    assert image_store.get(late[0]) == b"here"


@pytest.mark.usefixtures("environment")
def test_commands_delete_what_is_old(
    client: Client, table: JobTable, image_store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = claim(client, table)
    kept = published(found, table, image_store)
    upload(image_store, folder_of(found, image_store, "f00d"))
    later = time.time() + 3 * 24 * HOUR_S
    monkeypatch.setattr("ops.storage_commands.time.time", lambda: later)
    assert run("orphans") == {"objects": 2, "bytes": 8, "deleted": False}
    assert run("orphans", "--delete") == {"objects": 2, "bytes": 8, "deleted": True}
    assert sorted(each.key for each in image_store.objects(f"{image_store.settings.prefix}/")) == sorted(kept)
    monkeypatch.setenv("IMAGEMILL_S3_RETENTION_DAYS", "2")
    assert run("sweep")["objects"] == 2
    assert list(image_store.objects(f"{image_store.settings.prefix}/")) == []


@pytest.mark.usefixtures("environment")
def test_what_is_missing_is_told_of() -> None:
    assert "IMAGEMILL_S3_RETENTION_DAYS is not set" in run("sweep")["error"]["message"]
    assert "storage sweep" in run("retention", "apply", "--days", "7")["error"]["message"]
    assert run("retention", "show") == {"days": None, "rules": False}
