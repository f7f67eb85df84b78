"""docker-compose.yml opens nothing to the world by default, and these rules would see it if it did."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest

from tests.unit.ops.compose_rules import PUBLISHED, Service, open_doors, open_scripts, read_services

CHECKOUT = Path(__file__).resolve().parents[3]
FILE = CHECKOUT / "docker-compose.yml"
ENTRYPOINT, STORE = (CHECKOUT / "ops" / "images" / name for name in ("entrypoint.sh", "store.sh"))

Services = dict[str, Service]


def test_nothing_is_open_by_default() -> None:
    services = read_services(FILE)
    assert open_doors(services) == []
    assert {name for name, service in services.items() if "ports" in service} == set(PUBLISHED)
    assert open_scripts(ENTRYPOINT.read_text(), STORE.read_text()) == []


def test_address_of_the_api_and_of_flower_is_the_operators_choice() -> None:
    assert open_doors(read_services(FILE, {"API_BIND": "0.0.0.0"})) == ["api: publishes 8000 on 0.0.0.0"]  # noqa: S104
    assert open_doors(read_services(FILE, {"FLOWER_BIND": "10.0.0.1"})) == ["flower: publishes 5555 on 10.0.0.1"]


def test_file_for_the_cpu_changes_the_worker_alone() -> None:
    assert set(read_services(CHECKOUT / "docker-compose.cpu.yml")) == {"worker"}


def _set(service: str, key: str, value: object) -> Callable[[Services], None]:
    return lambda services: services[service].update({key: value})


def _setting(service: str, name: str, value: object) -> Callable[[Services], None]:
    return lambda services: services[service].setdefault("environment", {}).update({name: value})


def _drop(service: str, key: str) -> Callable[[Services], None]:
    return lambda services: services[service].pop(key) and None


def _redis_without(line: str) -> Callable[[Services], None]:
    def change(services: Services) -> None:
        services["redis"]["command"] = [each.replace(line, "") for each in services["redis"]["command"]]

    return change


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (_set("api", "ports", ["8000:8000"]), "api: publishes"),
        (_set("api", "ports", ["0.0.0.0:8000:8000"]), "api: publishes 8000 on 0.0.0.0"),
        (_set("api", "ports", ["[::]:8000:8000"]), "api: publishes"),
        (_set("api", "ports", [8000]), "api: publishes 8000"),
        (_set("api", "ports", [{"target": 8000, "published": "8000"}]), "api: publishes"),
        (_set("flower", "ports", ["5555:5555"]), "flower: publishes"),
        (_set("flower", "ports", ["192.168.1.2:5555:5555"]), "flower: publishes 5555 on 192.168.1.2"),
        (_set("redis", "ports", ["127.0.0.1:6379:6379"]), "redis: publishes 127.0.0.1:6379:6379"),
        (_set("s3", "ports", ["127.0.0.1:9000:9000"]), "s3: publishes"),
        (_set("prometheus", "ports", ["9090:9090"]), "prometheus: publishes"),
        (_set("api", "ports", ["127.0.0.1:9464:9464"]), "api: publishes"),
        (_set("redis", "network_mode", "host"), "redis: is in the host's network"),
        (_setting("api", "IMAGEMILL_API_REQUIRE_KEY", "false"), "api: answers without a key"),
        (_drop("api", "environment"), "api: answers without a key"),
        (_setting("flower", "FLOWER_UNAUTHENTICATED_API", "true"), "flower: FLOWER_UNAUTHENTICATED_API would win"),
        (_setting("flower", "FLOWER_BASIC_AUTH", "admin:admin"), "flower: FLOWER_BASIC_AUTH would win"),
        (_set("flower", "command", ["python", "-m", "celery", "flower"]), "flower: is started in another way"),
        (_set("flower", "entrypoint", ["celery"]), "flower: is started in another way"),
        (_redis_without("requirepass"), "redis: has no `requirepass"),
        (_redis_without("noeviction"), "redis: has no `maxmemory-policy"),
        (_redis_without("appendonly yes"), "redis: has no `appendonly"),
        (_set("redis", "command", ["redis-server", "--protected-mode no"]), "redis: has protected-mode off"),
        (_setting("passwords", "REDIS_PASSWORD", "imagemill"), "passwords: REDIS_PASSWORD has a value"),
        (
            _setting("worker", "IMAGEMILL_S3_SECRET_ACCESS_KEY", "x"),
            "worker: IMAGEMILL_S3_SECRET_ACCESS_KEY has a value",
        ),
        (_drop("redis", "user"), "redis: runs as root"),
        (_set("worker", "user", "root"), "worker: runs as root"),
        (_drop("passwords", "network_mode"), "passwords: runs as root"),
        (_set("worker", "privileged", True), "worker: owns the host"),
        (_set("flower", "volumes", ["/var/run/docker.sock:/var/run/docker.sock"]), "flower: owns the host"),
        (_drop("worker", "cap_drop"), "worker: keeps capabilities"),
        (_set("worker", "cap_add", ["SYS_ADMIN"]), "worker: gains"),
        (_drop("api", "security_opt"), "api: may gain privileges"),
        (_drop("api", "read_only"), "api: writes into its image"),
        (_drop("api", "deploy"), "api: may take all memory"),
        (
            _set("api", "deploy", {"resources": {"limits": {"memory": "1g", "cpus": "1"}}}),
            "api: may take all processes",
        ),
        (_set("s3", "deploy", {"resources": {"limits": {"memory": "1g", "pids": 9}}}), "s3: may take all processors"),
        (_set("flower", "networks", ["queue", "images"]), "flower: is in the network images"),
        (_set("prometheus", "networks", ["metrics", "queue"]), "prometheus: is in the network queue"),
        (_drop("redis", "networks"), "redis: is in the network default"),
        (_set("flower", "volumes", ["secrets:/run/secrets:ro"]), "flower: reads secrets"),
        (_set("redis", "volumes", ["secrets-s3:/run/secrets:ro"]), "redis: reads secrets-s3"),
        (_drop("worker", "healthcheck"), "worker: has no health check"),
        (_drop("worker", "restart"), "worker: has another restart policy"),
        (_set("worker", "container_name", "worker"), "worker: has a fixed name"),
    ],
)
def test_each_door_is_seen_when_it_is_open(change: Callable[[Services], None], seen: str) -> None:
    services = deepcopy(read_services(FILE))
    change(services)
    assert any(problem.startswith(seen) for problem in open_doors(services)), open_doors(services)


@pytest.mark.parametrize(
    ("gone", "seen"),
    [
        ("export FLOWER_BASIC_AUTH", "flower: starts without a password"),
        (":$(cat /run/secrets/flower_password)", "flower: starts without a password"),
        ("export RCLONE_AUTH_KEY=", "s3: starts without a key"),
    ],
)
def test_each_password_is_missed_when_it_is_gone(gone: str, seen: str) -> None:
    scripts = [file.read_text().replace(gone, "") for file in (ENTRYPOINT, STORE)]
    assert open_scripts(*scripts) == [seen]


def test_worker_has_longer_to_stop_than_it_takes() -> None:
    worker = read_services(FILE)["worker"]
    grace_s = float(worker["environment"]["IMAGEMILL_WORKER_GRACE_S"])
    assert float(worker["stop_grace_period"].removesuffix("s")) > grace_s
