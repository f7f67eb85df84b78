"""
docker-compose.yml on a real engine, from `up` on: built, healthy, closed, and right about the picture.

The tests stand in the order in which an operator would do it, on one stack.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ops.process import wait_until
from tests.compose.conftest import Compose, docker
from workers.builtin.checker import check
from workers.builtin.scenes import Figure, Scene

pytestmark = pytest.mark.timeout(1800)

PROMPT = "a large red circle on a blue background"
SCENE = Scene(background="blue", figures=(Figure(shape="circle", colour="red", size="large"),))
ONE_SHOTS = {"passwords", "models"}
MIB = 1 << 20
# Asks the store without a signature, and with the right key id and a wrong key.
STRANGER = """
import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
key = {"aws_access_key_id": "imagemill", "aws_secret_access_key": "imagemill-local", "region_name": "us-east-1"}
try:
    print(boto3.client("s3", endpoint_url="http://s3:9000", config=CONFIG, **key).list_buckets()["Buckets"])
except ClientError as exc:
    print(exc.response["ResponseMetadata"]["HTTPStatusCode"])
"""


def service_of(container: dict[str, Any]) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def test_every_service_is_healthy(stack: Compose) -> None:
    states = {service_of(each): each["State"] for each in stack.containers()}
    assert set(states) == {"redis", "s3", "worker", "api", "flower", "prometheus"} | ONE_SHOTS
    for service, state in states.items():
        if service in ONE_SHOTS:
            assert (state["Status"], state["ExitCode"]) == ("exited", 0), service
        else:
            assert state["Health"]["Status"] == "healthy", service


def test_job_submitted_by_curl_comes_back_as_the_right_picture(stack: Compose, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{stack.api_port}"
    curl = ["curl", "--silent", "--fail", "--noproxy", "*", "--header", f"Authorization: Bearer {stack.key}"]
    body = json.dumps({"prompt": PROMPT, "seed": 7})
    submit = [*curl, "--header", "Prefer: wait=60", "--json", body, f"{address}/v1/jobs"]
    job = json.loads(subprocess.run(submit, capture_output=True, check=True, timeout=90).stdout)
    assert job["status"] == "succeeded", job
    file = tmp_path / "circle.png"
    subprocess.run([*curl, "--output", str(file), job["images"][0]["url"]], check=True, timeout=60)
    verdict = check(SCENE, Image.open(file))
    assert verdict.background
    assert verdict.colours
    assert verdict.shapes


def test_openai_route_sends_the_picture_itself(stack: Compose) -> None:
    answer = stack.ask("/v1/images/generations", {"prompt": PROMPT, "model": "shapes", "seed": 7})
    assert check(SCENE, Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"])))).shapes


def test_only_the_api_and_flower_are_published_and_on_loopback(stack: Compose) -> None:
    published = {
        service_of(each): sorted({(port["HostIp"], port["HostPort"]) for port in ports})
        for each in stack.containers()
        if (ports := [port for bound in (each["HostConfig"]["PortBindings"] or {}).values() for port in bound])
    }
    loopback = "127.0.0.1"
    assert published == {"api": [(loopback, str(stack.api_port))], "flower": [(loopback, str(stack.flower_port))]}


def test_containers_have_no_rights_that_they_do_not_need(stack: Compose) -> None:
    for container in stack.containers():
        service, host = service_of(container), container["HostConfig"]
        assert (host["CapDrop"], host["Privileged"], host["ReadonlyRootfs"]) == (["ALL"], False, True), service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert host["Memory"] > 0, service
        assert host["PidsLimit"] > 0, service
        if service not in ("redis", "worker"):  # As many processors as the operator says: all.
            assert host["NanoCpus"] > 0, service
        if service != "passwords":  # It has no network, and ends at once.
            assert container["Config"]["User"].partition(":")[0] not in ("", "0", "root"), service


def test_passwords_are_in_no_description_of_a_container(stack: Compose) -> None:
    files = {"redis": "redis_password", "s3": "imagemill_s3_secret_access_key", "flower": "flower_password"}
    drawn = [stack.run("exec", "--no-TTY", each, "cat", f"/run/secrets/{file}") for each, file in files.items()]
    passwords = [each.strip() for each in drawn]
    assert len(set(passwords)) == 3
    described = json.dumps(stack.containers())
    assert [password for password in passwords if password in described] == []


def test_each_service_has_the_secrets_that_it_needs_and_no_others(stack: Compose) -> None:
    of_redis, of_store = {"imagemill_redis_url", "imagemill_result_backend_url"}, {"access_key_id", "secret_access_key"}
    store = {f"imagemill_s3_{each}" for each in of_store}
    for service, needed in {
        "redis": {"redis_password"},
        "s3": store,
        "flower": {"flower_user", "flower_password", *of_redis},
        "api": of_redis | store,
        "worker": of_redis | store,
    }.items():
        assert set(stack.run("exec", "--no-TTY", service, "ls", "/run/secrets").split()) == needed, service


REACH = """
import socket
ports = {"redis": 6379, "s3": 9000, "prometheus": 9090, "flower": 5555, "api": 8000, "worker": 9464}
for host, port in ports.items():
    try:
        socket.create_connection((host, port), timeout=5).close()
        print(host)
    except OSError:
        pass
"""


def test_each_service_reaches_those_that_it_needs_and_no_others(stack: Compose) -> None:
    for service, reached in {
        "flower": {"redis", "prometheus", "flower", "api", "worker"},
        "api": {"redis", "s3", "prometheus", "flower", "api", "worker"},
        "worker": {"redis", "s3", "prometheus", "flower", "api", "worker"},
    }.items():
        assert set(stack.run("exec", "--no-TTY", service, "python", "-c", REACH).split()) == reached, service
    networks = {
        service_of(each): {name.removeprefix(f"{stack.name}_") for name in each["NetworkSettings"]["Networks"]}
        for each in stack.containers()
    }
    assert (networks["redis"], networks["s3"], networks["prometheus"]) == ({"queue"}, {"images"}, {"metrics"})
    for name in ("queue", "images", "metrics"):
        assert json.loads(docker("network", "inspect", f"{stack.name}_{name}"))[0]["Internal"], name


def test_redis_and_the_store_refuse_whoever_has_no_password(stack: Compose) -> None:
    assert "NOAUTH" in stack.run("exec", "--no-TTY", "redis", "redis-cli", "ping")
    for key in ("Config(signature_version=UNSIGNED)", "Config(signature_version='s3v4')"):
        answer = stack.run("exec", "--no-TTY", "api", "python", "-c", STRANGER.replace("CONFIG", key)).strip()
        assert answer in ("400", "403"), answer


def test_flower_wants_its_password_and_its_api_does_too(stack: Compose) -> None:
    assert [flower(stack, path, None) for path in ("/workers", "/tasks", "/api/workers")] == [401, 401, 401]
    read = "cat /run/secrets/flower_user; echo -n :; cat /run/secrets/flower_password"
    login = stack.run("exec", "--no-TTY", "flower", "sh", "-c", read).strip()
    assert flower(stack, "/workers", login) == 200
    assert flower(stack, "/workers", "imagemill:imagemill") == 401


def test_api_wants_a_key(stack: Compose) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", stack.api_port, timeout=30)
    connection.request("GET", "/v1/jobs")
    assert connection.getresponse().status == 401
    connection.close()


def test_images_of_the_api_and_flower_are_small_and_have_no_torch_and_no_compiler(stack: Compose) -> None:
    base = size_of("python:3.11-slim-bookworm")
    for name in ("api", "flower"):
        assert size_of(f"imagemill-{name}:test") - base < 300 * MIB
        look = (
            "import importlib.util as u, shutil; print(u.find_spec('torch'), shutil.which('gcc'), shutil.which('cc'))"
        )
        assert stack.run("exec", "--no-TTY", name, "python", "-c", look).split() == ["None"] * 3


def test_prometheus_scrapes_worker_api_and_flower(stack: Compose) -> None:
    def is_up(job: str) -> bool:
        query = ["promtool", "query", "instant", "http://127.0.0.1:9090", f'up{{job="{job}"}}']
        return "=> 1 @" in stack.run("exec", "--no-TTY", "prometheus", *query)

    for job in ("worker", "api", "flower"):
        assert wait_until(lambda job=job: is_up(job), 60), job  # type: ignore[misc]


def size_of(image: str) -> int:
    return int(docker("image", "inspect", "--format", "{{.Size}}", image))


def flower(stack: Compose, path: str, login: str | None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", stack.flower_port, timeout=30)
    try:
        headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()
