"""What surrounds the system where others run it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.blackbox.conftest import MakeSystem
from tests.blackbox.system import simulated

SERVICES = (
    "IMAGEMILL",
    "IMAGEMILL_API",
    "IMAGEMILL_REDIS",
    "IMAGEMILL_METRICS",
    "IMAGEMILL_S3",
    "IMAGEMILL_WORKER",
    "IMAGEMILL_STACK_API",
    "IMAGEMILL_DOCTOR",
    "FLOWER",
)


def of_kubernetes(*services: str) -> dict[str, str]:
    """What Kubernetes sets for services of these names, with a port that is called `http`, and one over UDP."""
    env: dict[str, str] = {}
    for service in services:
        env |= {f"{service}_SERVICE_HOST": "10.0.0.7", f"{service}_SERVICE_PORT": "8000"}
        env |= {f"{service}_SERVICE_PORT_HTTP": "8000", f"{service}_PORT": "tcp://10.0.0.7:8000"}
        for protocol in ("TCP", "UDP"):
            url, port = f"{protocol.lower()}://10.0.0.7:8000", f"{service}_PORT_8000_{protocol}"
            env |= {port: url, f"{port}_PROTO": protocol.lower(), f"{port}_PORT": "8000", f"{port}_ADDR": "10.0.0.7"}
    return env


def test_all_runs_beside_services_of_kubernetes_that_have_our_names(make_system: MakeSystem) -> None:
    services = of_kubernetes(*SERVICES)
    # Two settings have the names of such variables. Set for us, as `serve` does with the API's port, they count.
    ports = {name: services[name] for name in ("IMAGEMILL_API_PORT", "IMAGEMILL_METRICS_PORT")}
    system = make_system(simulated(), {**services, "IMAGEMILL_METRICS_PORT": "off"})
    system.worker()
    system.serve()
    made = system.cli("submit", "a red circle", "--wait", "--json")
    assert made.returncode == 0, made.stderr
    assert system.end_of(system.submit())["status"] == "succeeded"
    for command in (("queue", "list"), ("workers",), ("keys", "list"), ("dead", "list"), ("storage", "orphans")):
        done = system.cli(*command, env=ports)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    missing = system.cli("status", "x", env=ports)
    assert (missing.returncode, missing.stderr) == (
        5,
        "imagemill: there is no job x, or its record has expired\n",
    )
    open_to_all = system.cli("api", "--host", "0.0.0.0", env=ports)  # noqa: S104 - refused: there is no key
    assert "keys create" in open_to_all.stderr, open_to_all.stderr
    seen = system.cli("doctor", "--json", env=ports)
    assert "unknown setting" not in seen.stdout
    assert "IMAGEMILL" not in seen.stderr


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({"IMAGEMILL_REDIS_ULR": "redis://10.0.0.7:6379/0"}, "IMAGEMILL_REDIS_ULR"),
        ({"IMAGEMILL_SERVICE_HOST": "here"}, "IMAGEMILL_SERVICE_HOST"),
        ({"IMAGEMILL_S3_PORT": "9000"}, "IMAGEMILL_S3_PORT"),
        ({"IMAGEMILL_METRICS_PORT": "tcp"}, "IMAGEMILL_METRICS_PORT"),
    ],
)
def test_what_is_misspelt_is_refused_all_the_same(make_system: MakeSystem, env: Mapping[str, str], name: str) -> None:
    system = make_system(simulated(), of_kubernetes("IMAGEMILL_API"))
    refused = system.cli("status", "x", env=env)
    assert refused.returncode in (2, 3), refused.stderr
    assert refused.stderr.startswith(f"imagemill: {name}: ")
