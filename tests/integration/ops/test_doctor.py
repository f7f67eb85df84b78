"""`./imagemill doctor`, on real servers that are well, ill in one way each, or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from typer.testing import CliRunner, Result

from jobs.fleet.fleet import Fleet, WorkerReport
from jobs.process.settings import Settings
from ops import cli
from ops.process import LOOPBACK, free_port
from ops.programs import Flower
from ops.servers import RedisServer, S3Server
from producer import Client
from storage.backends.s3.store import S3Store

REDIS = ("Redis version", "Redis role", "Redis persistence", "Redis eviction", "Redis memory", "Redis clock")
S3 = ("S3 write", "S3 read", "S3 link", "S3 altered link", "S3 delete", "S3 uploaded files")

Found = dict[str, dict[str, str]]
Doctor = Callable[..., Found]


class OpenS3Server(S3Server):
    """One that looks at no signature."""

    def command(self) -> list[str]:
        words = super().command()
        at = words.index("--auth-key")
        return words[:at] + words[at + 2 :]


class ReadOnlyS3Server(S3Server):
    """One that takes nothing."""

    def command(self) -> list[str]:
        return [*super().command(), "--read-only"]


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[redis.Redis]:
    """A client of a server that this test alone uses, and may spoil."""
    with RedisServer(tmp_path / "redis") as server, redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
def environment(settings: Settings, store: S3Store, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Healthy servers, and no Flower."""
    monkeypatch.setenv("IMAGEMILL_REDIS_URL", settings.redis_url)
    monkeypatch.setenv("IMAGEMILL_S3_ENDPOINT_URL", store.settings.endpoint_url)
    monkeypatch.setenv("IMAGEMILL_S3_BUCKET", store.settings.bucket)
    monkeypatch.setenv("IMAGEMILL_STACK_FLOWER_PORT", str(free_port()))
    return monkeypatch


def run(*options: str) -> Result:
    return CliRunner().invoke(cli.app, ["doctor", *options])


@pytest.fixture
def doctor(environment: pytest.MonkeyPatch) -> Doctor:
    """Runs the command and returns its findings by check; its exit code must say whether one failed."""

    def examine(*options: str) -> Found:
        result = run("--json", *options)
        findings: list[dict[str, str]] = [json.loads(line) for line in result.stdout.splitlines()]
        found = {each["check"]: each for each in findings}
        assert len(found) == len(findings)
        assert result.exit_code == int(any(each["state"] == "failure" for each in findings))
        assert {"Redis", *REDIS, "S3 bucket", *S3, "workers", "Flower", "model catalogue"} <= set(found)
        assert all(each["advice"] for each in findings if each["state"] in ("warning", "failure"))
        return found

    return examine


def states(found: Found, checks: tuple[str, ...]) -> set[str]:
    return {found[check]["state"] for check in checks}


def use(environment: pytest.MonkeyPatch, client: redis.Redis, **credentials: str) -> None:
    port = client.connection_pool.connection_kwargs["port"]
    user = "".join(f"{name}:{password}@" for name, password in credentials.items())
    environment.setenv("IMAGEMILL_REDIS_URL", f"redis://{user}{LOOPBACK}:{port}/0")


def objects(server: S3Server, bucket: str) -> list[Path]:
    return [path for path in (server.folder / bucket / "doctor").rglob("*") if path.is_file()]


def test_healthy_servers_are_well_and_nothing_stays_behind(
    doctor: Doctor, s3_server: S3Server, store: S3Store, settings: Settings, redis_client: redis.Redis
) -> None:
    Fleet(redis_client, settings).report(WorkerReport(name="worker@a", state="ready", models=("shapes-flow",), slots=4))
    keys = set(redis_client.keys())
    found = doctor()
    assert states(found, ("Redis", *REDIS, "S3 bucket", *S3, "workers", "queues")) == {"ok", "information"}
    assert found["Redis memory"]["state"] == "information"  # The local stack's Redis has no limit.
    assert states(found, ("model catalogue", "model shapes")) == {"ok"}
    assert found["Flower"]["state"] == "not checked"
    assert not objects(s3_server, store.settings.bucket)
    assert set(redis_client.keys()) == keys


def test_table_has_a_line_for_each_check(environment: pytest.MonkeyPatch) -> None:
    result = run()
    assert result.exit_code == 0, result.output
    for check in ("Redis", *REDIS, "S3 bucket", *S3, "workers", "queues", "Flower", "model shapes"):
        assert f" {check} " in result.stdout
    assert "ok" in result.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("option", "value", "check", "state", "said"),
    [
        ("appendonly", "no", "Redis persistence", "failure", "no append-only file"),
        ("maxmemory-policy", "allkeys-lru", "Redis eviction", "failure", "allkeys-lru"),
        ("maxmemory", "1mb", "Redis memory", "failure", "of 1 MiB used"),
        ("maxmemory", "1gb", "Redis memory", "ok", "of 1,024 MiB used"),
    ],
)
def test_setting_of_redis_is_judged_alone(
    doctor: Doctor,
    environment: pytest.MonkeyPatch,
    own_redis: redis.Redis,
    option: str,
    value: str,
    check: str,
    state: str,
    said: str,
) -> None:
    use(environment, own_redis)
    own_redis.config_set(option, value)
    found = doctor()
    assert found[check]["state"] == state
    assert said in found[check]["found"]
    others = tuple(each for each in REDIS if each != check)
    assert states(found, ("Redis", *others, *S3)) <= {"ok", "information"}


def test_replica_is_no_place_for_jobs(
    doctor: Doctor, environment: pytest.MonkeyPatch, own_redis: redis.Redis, redis_server: RedisServer
) -> None:
    use(environment, own_redis)
    own_redis.replicaof(LOOPBACK, str(redis_server.port))
    try:
        assert doctor()["Redis role"]["state"] == "failure"
    finally:
        own_redis.replicaof("NO", "ONE")


def test_password_is_asked_for_and_never_shown(
    doctor: Doctor, environment: pytest.MonkeyPatch, own_redis: redis.Redis
) -> None:
    own_redis.config_set("requirepass", "right-password")
    for credentials in ({}, {"default": "wrong-password"}):
        use(environment, own_redis, **credentials)
        found = doctor()
        assert found["Redis"]["state"] == "failure"
        assert "USER:PASSWORD" in found["Redis"]["advice"]
        assert "wrong-password" not in json.dumps(found)
    use(environment, own_redis, default="right-password")
    found = doctor()
    assert states(found, ("Redis", "workers", *REDIS)) <= {"ok", "information", "warning"}
    assert "right-password" not in json.dumps(found)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("IMAGEMILL_S3_SECRET_ACCESS_KEY", "wrong", "the secret does not belong"),
        ("IMAGEMILL_S3_ACCESS_KEY_ID", "nobody", "does not know the access key"),
    ],
)
def test_wrong_keys_are_told_apart(
    doctor: Doctor, environment: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    environment.setenv(name, value)
    found = doctor()
    assert found["S3 bucket"]["state"] == "failure"
    assert said in found["S3 bucket"]["found"]
    assert name in found["S3 bucket"]["advice"]
    assert states(found, S3) == {"not checked"}
    assert states(found, ("Redis", *REDIS)) <= {"ok", "information"}


def test_bucket_that_is_not_there_is_named_and_not_made(
    doctor: Doctor, environment: pytest.MonkeyPatch, s3_server: S3Server
) -> None:
    environment.setenv("IMAGEMILL_S3_BUCKET", "no-such-bucket")
    found = doctor()
    assert found["S3 bucket"]["state"] == "failure"
    assert "there is no such bucket" in found["S3 bucket"]["found"]
    assert not (s3_server.folder / "no-such-bucket").exists()


@pytest.mark.parametrize(
    ("server_class", "states_by_check"),
    [
        (OpenS3Server, {"S3 write": "ok", "S3 link": "ok", "S3 altered link": "failure", "S3 delete": "ok"}),
        (ReadOnlyS3Server, {"S3 bucket": "ok", "S3 write": "failure", "S3 read": "not checked"}),
    ],
)
def test_store_that_is_too_open_or_too_closed(
    doctor: Doctor,
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
    store: S3Store,
    server_class: type[S3Server],
    states_by_check: dict[str, str],
) -> None:
    (tmp_path / "s3" / store.settings.bucket).mkdir(parents=True)
    with server_class(tmp_path / "s3") as server:
        environment.setenv("IMAGEMILL_S3_ENDPOINT_URL", server.endpoint)
        found = doctor()
        assert {check: found[check]["state"] for check in states_by_check} == states_by_check
        assert not objects(server, store.settings.bucket)


def test_links_that_lead_nowhere_are_a_warning_and_the_object_is_deleted(
    doctor: Doctor, environment: pytest.MonkeyPatch, s3_server: S3Server, store: S3Store
) -> None:
    environment.setenv("IMAGEMILL_S3_PUBLIC_ENDPOINT_URL", f"http://{LOOPBACK}:{free_port()}")
    found = doctor()
    assert found["S3 link"]["state"] == "warning"
    assert found["S3 altered link"]["state"] == "not checked"
    assert found["S3 delete"]["state"] == "ok"
    assert not objects(s3_server, store.settings.bucket)


def test_each_queue_with_jobs_needs_a_worker(
    doctor: Doctor, client: Client, settings: Settings, redis_client: redis.Redis
) -> None:
    assert doctor()["workers"]["state"] == "warning"
    client.submit("a red circle")
    found = doctor()
    assert found["queue gpu.shapes-flow"]["state"] == "failure"
    assert found["queue gpu.shapes-flow"]["found"] == "1 waiting, 0 running, and no worker serves shapes-flow"
    Fleet(redis_client, settings).report(WorkerReport(name="worker@a", state="ready", models=("shapes-flow",)))
    assert states(doctor(), ("workers", "queue gpu.shapes-flow")) == {"ok"}
    client.parts.control.pause("gpu.shapes-flow")
    assert doctor()["queue gpu.shapes-flow"]["state"] == "warning"


def test_flower_is_found_by_option_and_by_setting(
    doctor: Doctor, environment: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    env = {**os.environ, "IMAGEMILL_REDIS_URL": settings.redis_url}
    with Flower(tmp_path / "flower" / "state", 0, env) as flower:
        found = doctor("--flower", flower.url.replace("http://", "http://somebody:secret@"))["Flower"]
        assert (found["state"], found["found"]) == ("ok", f"{flower.url} answers")
        environment.setenv("IMAGEMILL_DOCTOR_FLOWER_URL", f"{flower.url}/")
        assert doctor()["Flower"]["state"] == "ok"


def test_flower_that_was_named_and_is_not_there_is_told(
    doctor: Doctor, redis_server: RedisServer, s3_server: S3Server
) -> None:
    for url in (f"http://{LOOPBACK}:{free_port()}", f"http://{LOOPBACK}:{redis_server.port}", s3_server.endpoint):
        assert doctor("--flower", url)["Flower"]["state"] == "warning"
    for url in ("127.0.0.1:5555", "ftp://host", "http://host:port", "http://[::1"):
        assert doctor("--flower", url)["Flower"]["state"] == "failure"


def test_where_nothing_answers_every_check_has_its_line(doctor: Doctor, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("IMAGEMILL_REDIS_URL", f"redis://{LOOPBACK}:{free_port()}/0")
    environment.setenv("IMAGEMILL_S3_ENDPOINT_URL", f"http://{LOOPBACK}:{free_port()}")
    environment.setenv("IMAGEMILL_MODELS_FILE", "/nowhere/models.toml")
    found = doctor("--flower", f"http://{LOOPBACK}:{free_port()}")
    assert states(found, ("Redis", "S3 bucket", "model catalogue")) == {"failure"}
    assert states(found, (*REDIS, *S3, "workers", "queues")) == {"not checked"}
    assert found["Flower"]["state"] == "warning"


@pytest.mark.parametrize(
    ("name", "value", "failed"),
    [
        ("IMAGEMILL_REDIS_URL", "http://redis", ("Redis",)),
        ("IMAGEMILL_S3_BUCKET", "x", ("S3 bucket",)),
        ("IMAGEMILL_DOCTOR_FLOWER", "http://flower", ("Flower",)),
    ],
)
def test_wrong_setting_hides_no_other_check(
    environment: pytest.MonkeyPatch, name: str, value: str, failed: tuple[str, ...]
) -> None:
    environment.setenv(name, value)
    result = run("--json")
    assert result.exit_code == 1
    found: dict[str, Any] = {each["check"]: each for each in map(json.loads, result.stdout.splitlines())}
    assert {found[check]["state"] for check in failed} == {"failure"}
    assert all(name in found[check]["found"] for check in failed)
    assert {"Redis", "S3 bucket", "Flower", "workers", "model catalogue"} <= set(found)
