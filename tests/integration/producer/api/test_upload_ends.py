"""Files that go: what has expired, what breaks off, and what is slow; nothing of it stays."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import httpx2 as httpx
import pytest
import redis
from fastapi import FastAPI
from fastapi.testclient import TestClient

from jobs import names
from jobs.inputs.files import Files
from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.table.table import JobTable
from ops.process import free_port, wait_until
from producer.api.app import create_app
from producer.api.settings import ApiSettings
from producer.files.sweep import FileSweep
from producer.keys.store import KeyStore
from storage.backends.s3.settings import S3Settings
from storage.inputs import Inputs
from storage.store import PART_BYTES
from tests.claims import claim_job
from tests.integration.producer.api.conftest import DEADLINE_S, MakeKey, serving
from tests.integration.producer.api.pictures import png
from tests.integration.producer.api.uploading import FORM, MAX_BYTES, MIB, connected, error_of, head_of, send

PAST = 1_000_000.0


@pytest.fixture
def api_settings() -> ApiSettings:
    return ApiSettings(body_timeout_s=DEADLINE_S, max_upload_bytes=MAX_BYTES)


# What goes by itself.


def test_sweep_deletes_what_has_expired_and_nothing_that_a_job_needs(
    api: TestClient, files: Files, inputs: Inputs, table: JobTable, sweep: FileSweep, redis_client: redis.Redis
) -> None:
    old, needed, kept = (send(api, png()).json()["id"] for _ in range(3))
    job_id = api.post("/v1/jobs", json={"prompt": "a red circle"}).json()["id"]
    files.use(needed, job_id)

    def expire(*file_ids: str) -> None:
        redis_client.zadd(names.FILE_EXPIRY, dict.fromkeys(file_ids, PAST))

    expire(old, needed)
    assert sweep.run_once() == 1
    assert list(redis_client.keys(f"imagemill:file*{old}*")) == []
    assert {each.id for each in files.list("default", limit=9)} == {needed, kept}
    claim = claim_job(table, job_id)
    expire(needed)
    assert sweep.run_once() == 0
    assert inputs.read(needed)
    table.finish(claim, Status.CANCELED)
    expire(needed)
    assert sweep.run_once() == 1


def test_sweep_goes_on_where_a_process_died(
    api: TestClient, files: Files, inputs: Inputs, sweep: FileSweep, nothing_stays: Callable[[], bool]
) -> None:
    """Its object is deleted and its record is there; or both are, and nobody finds them any more."""
    for does_delete in (True, False):
        file_id = send(api, png()).json()["id"]
        files.delete(file_id, "default")
        if does_delete:
            inputs.delete([file_id])
        assert sweep.run_once() == 1
        assert nothing_stays()


def test_sweep_clears_away_what_dead_processes_were_sent(
    files: Files, inputs: Inputs, sweep: FileSweep, redis_client: redis.Redis, nothing_stays: Callable[[], bool]
) -> None:
    begun, stored = "file-" + "a" * 24, "file-" + "b" * 24
    for file_id in (begun, stored):
        files.begin(file_id)
    inputs.upload(begun, "image/png").write(bytes(2 * PART_BYTES))
    with inputs.upload(stored, "image/png") as upload:
        upload.write(png())
    assert sweep.run_once() == 0
    redis_client.zadd(names.FILES_BEGUN, {begun: PAST, stored: PAST})
    assert sweep.run_once() == 2
    assert nothing_stays()


def test_api_sweeps_by_itself(
    make_app: Callable[[], FastAPI], redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.files.sweep.PASS_S", 0.2)
    with TestClient(make_app(), base_url="http://127.0.0.1") as api:
        old, kept = (send(api, png()).json()["id"] for _ in range(2))
        redis_client.zadd(names.FILE_EXPIRY, {old: PAST})
        assert wait_until(lambda: api.get(f"/v1/files/{old}").status_code == 404, DEADLINE_S)
        assert wait_until(lambda: not redis_client.exists(names.file_key(old)), DEADLINE_S)
        assert api.get(f"/v1/files/{kept}").status_code == 200


def test_what_the_store_could_not_take_back_is_left_to_the_sweep(
    settings: Settings, storage_settings: S3Settings, redis_client: redis.Redis
) -> None:
    away = storage_settings.model_copy(update={"endpoint_url": f"http://127.0.0.1:{free_port()}"})
    with TestClient(create_app(settings, away), base_url="http://127.0.0.1") as api:
        answer = send(api, png())
        assert error_of(answer)[:2] == (503, "storage_unavailable")
        assert api.get("/v1/files").json()["data"] == []
    assert redis_client.zcard(names.FILES_BEGUN) == 1


# Who breaks off, or is slow.


CUTS = [0, 10, len(FORM), len(FORM) + 20, len(FORM) + MIB, len(FORM) + PART_BYTES + MIB, len(FORM) + 20 * MIB]


@pytest.mark.parametrize("cut", CUTS)
def test_nothing_stays_of_an_upload_that_is_cut(
    replica: str, redis_client: redis.Redis, nothing_stays: Callable[[], bool], cut: int
) -> None:
    body = FORM + png(20 * MIB) + b"\r\n--b--\r\n"
    with closing(connected(replica)) as connection:
        connection.sendall(head_of(len(body)) + body[:cut])
        if cut > len(FORM) + PART_BYTES:
            assert wait_until(lambda: redis_client.zcard(names.FILES_BEGUN) == 1, DEADLINE_S)
    limits = f"{replica}/v1/limits"
    assert wait_until(lambda: httpx.get(limits).json()["open"]["uploads"] == 0, DEADLINE_S)
    assert wait_until(nothing_stays, DEADLINE_S)


def test_upload_that_is_too_slow_is_let_go(
    settings: Settings,
    storage_settings: S3Settings,
    nothing_stays: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("producer.api.http.bodies.SLOWEST_BYTES_PER_S", 100 * MIB)
    body = FORM + png(20 * MIB) + b"\r\n--b--\r\n"
    app = create_app(settings, storage_settings, ApiSettings(body_timeout_s=0.5))
    with serving(app) as (_, url), closing(connected(url)) as connection:
        connection.sendall(head_of(len(body)) + body[: 10 * MIB])
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_too_slow"' in answer
    assert nothing_stays()


def test_key_sends_so_many_files_at_a_time(replica: str, make_key: MakeKey) -> None:
    one, two = make_key("one", max_uploads=1), make_key("two")
    body = FORM + png() + b"\r\n--b--\r\n"
    with httpx.Client(base_url=replica, timeout=DEADLINE_S) as client, closing(connected(replica)) as connection:
        head = head_of(len(body)).replace(b"\r\n\r\n", f"\r\nAuthorization: {one['Authorization']}\r\n\r\n".encode())
        connection.sendall(head + body[:100])
        told = {"connections": 2, "batches": 0, "uploads": 1}
        assert wait_until(lambda: client.get("/v1/limits", headers=one).json().get("open") == told, DEADLINE_S)
        refused = send(client, png(), one)
        assert error_of(refused)[:2] == (429, "too_many_uploads")
        assert refused.headers["retry-after"] == "5"
        assert send(client, png(), two).status_code == 200
        connection.sendall(body[100:])
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert send(client, png(), one).status_code == 200


def test_key_that_is_revoked_ends_its_upload(
    replica: str, make_key: MakeKey, redis_client: redis.Redis, settings: Settings, nothing_stays: Callable[[], bool]
) -> None:
    one, body = make_key("one"), FORM + png(20 * MIB) + b"\r\n--b--\r\n"
    with closing(connected(replica)) as connection:
        head = head_of(len(body)).replace(b"\r\n\r\n", f"\r\nAuthorization: {one['Authorization']}\r\n\r\n".encode())
        connection.sendall(head + body[: 12 * MIB])
        assert wait_until(lambda: redis_client.zcard(names.FILES_BEGUN) == 1, DEADLINE_S)
        KeyStore(redis_client, settings).revoke("one")
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b'"type":"authentication_error"' in answer
    assert wait_until(nothing_stays, DEADLINE_S)
