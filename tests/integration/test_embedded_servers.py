"""The servers of the local stack, as real processes."""

from __future__ import annotations

import os
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
import redis
from botocore.config import Config

from ops.process import LOOPBACK, Process, StackError, wait_until
from ops.servers import RedisServer, S3Server

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "pictures"
KEY = "a-job/1-token/0.png"
BODY = os.urandom(300_000)

needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks processes up in /proc")


def s3_client(server: S3Server) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key_id,
        aws_secret_access_key=server.secret_access_key,
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


def is_running(pid: int | None) -> bool:
    """Not gone, and not a zombie that waits for its parent."""
    try:
        return not Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].startswith(" Z")
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_redis_keeps_its_data_over_a_restart(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        client.set("key", "value")
    with RedisServer(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        assert client.get("key") == b"value"


def test_redis_refuses_writes_instead_of_evicting(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_redis_runs_scripts_that_carry_flags(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        assert client.eval("#!lua flags=allow-oom\nreturn 1", 0) == 1


def test_s3_object_is_there_at_once_and_by_a_plain_link(tmp_path: Path) -> None:
    with S3Server(tmp_path) as server:
        client = s3_client(server)
        client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key=KEY, Body=BODY, ContentType="image/png")

        assert client.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == BODY
        assert [each["Key"] for each in client.list_objects_v2(Bucket=BUCKET)["Contents"]] == [KEY]
        link = client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": KEY})
        with urllib.request.urlopen(link) as response:  # noqa: S310 - our own link
            assert response.read() == BODY
            assert response.headers["Content-Type"] == "image/png"


def test_s3_object_survives_a_killed_server(tmp_path: Path) -> None:
    server = S3Server(tmp_path)
    with server:
        client = s3_client(server)
        client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key=KEY, Body=BODY, ContentType="image/png")
        link = client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": KEY})
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
    with server, urllib.request.urlopen(link) as response:  # noqa: S310 - our own link
        assert response.read() == BODY


def test_s3_refuses_who_has_no_key(tmp_path: Path) -> None:
    with S3Server(tmp_path) as server, pytest.raises(urllib.error.HTTPError, match=r"4\d\d") as refused:
        urllib.request.urlopen(f"{server.endpoint}/{BUCKET}")  # noqa: S310 - our own server
    refused.value.close()


@needs_proc
@pytest.mark.parametrize("kind", [RedisServer, S3Server])
def test_server_leaves_no_process(kind: type[RedisServer | S3Server], tmp_path: Path) -> None:
    with kind(tmp_path) as server:
        pid = server.pid
        assert is_running(pid)
    assert not is_running(pid)
    assert server.pid is None


@pytest.mark.parametrize("kind", [RedisServer, S3Server])
def test_taken_port_is_an_error_that_names_port_and_setting(
    kind: type[RedisServer | S3Server], tmp_path: Path, taken_port: int
) -> None:
    with pytest.raises(StackError, match=f"{LOOPBACK}:{taken_port}.*{kind.port_setting}"):
        kind(tmp_path, taken_port).start()


class Quitter(Process):
    """Says a word and ends, leaving a child of its own behind."""

    def command(self) -> list[str]:
        return ["/bin/sh", "-c", "sleep 1000 & echo child $!; echo out of paint >&2; exit 7"]

    def is_ready(self) -> bool:
        return False


@needs_proc
def test_process_that_ends_early_is_an_error_with_its_last_words_and_leaves_nothing_behind() -> None:
    lines: list[str] = []
    process = Quitter("easel")
    process.start(lines.append)
    with pytest.raises(StackError, match=r"easel ended with code 7[\s\S]*out of paint"):
        process.wait_until_ready()
    process.stop()

    child = int(lines[0].removeprefix("child "))
    assert wait_until(lambda: not is_running(child), deadline_s=60)


def test_deletion_of_one_object_of_several_is_no_line_of_the_terminal(tmp_path: Path) -> None:
    lines: list[str] = []
    server = S3Server(tmp_path)
    server.start(lines.append)
    try:
        server.wait_until_ready()
        client = s3_client(server)
        client.create_bucket(Bucket=BUCKET)
        for key in ("inputs/a", "inputs/b"):
            client.put_object(Bucket=BUCKET, Key=key, Body=BODY)
        client.delete_object(Bucket=BUCKET, Key="inputs/a")
        assert [each["Key"] for each in client.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["inputs/b"]
    finally:
        server.stop()  # Which reads its last lines.
    assert [line for line in lines if "ERROR" in line] == []
