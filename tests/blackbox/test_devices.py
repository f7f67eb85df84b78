"""A worker on a machine with several devices: a process for each, which serves, fails and starts again by itself."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.request
from typing import Any

from ops.process import free_port
from tests.blackbox.conftest import MakeSystem
from tests.blackbox.system import START_S, Command, System, simulated, until
from tests.processes import children_of, is_alive

EX_CONFIG = 78


def workers(system: System) -> list[dict[str, Any]]:
    """As the command line lists them, by name."""
    return [json.loads(line) for line in system.cli("workers", "--json").stdout.splitlines()]


def start(system: System, devices: str, ready: int, **env: str) -> Command:
    """A worker on these devices, when so many of its processes take jobs."""
    worker = system.worker("--devices", devices, env={f"IMAGEMILL_{name}": value for name, value in env.items()})
    until("its processes are ready", lambda: worker.printed(r"worker@\S+ ready") >= ready, START_S)
    return worker


def test_each_device_has_a_process_with_a_name_metrics_and_restarts_of_its_own(make_system: MakeSystem) -> None:
    system, port = make_system(simulated()), free_port(3)
    system.serve()
    worker = start(system, "simulated:24,simulated:24,simulated:80", 3, METRICS_PORT=str(port), WORKER_NAME="box")
    before = {each["name"]: each for each in workers(system)}
    assert [re.sub(r"-\w{6}$", "", name) for name in before] == [
        "worker@box-sim0",
        "worker@box-sim1",
        "worker@box-sim2",
    ]
    for number in range(3):
        with urllib.request.urlopen(f"http://127.0.0.1:{port + number}/metrics") as answer:
            assert "imagemill_worker_slots" in answer.read().decode()

    victim, *others = children_of(worker.pid or 0)
    os.kill(victim, signal.SIGKILL)
    until("it is missed", lambda: worker.printed("starting another"))
    until("another has taken its place", lambda: worker.printed(r"worker@\S+ ready") == 4, START_S)
    assert all(is_alive(pid) for pid in others)
    assert {each["name"] for each in workers(system)} == before.keys()
    assert system.end_of(system.submit())["status"] == "succeeded"

    os.kill(worker.pid or 0, signal.SIGTERM)
    assert worker.wait_for_exit() == 0
    assert workers(system) == []


def test_device_that_there_is_not_is_named(make_system: MakeSystem) -> None:
    done = make_system(simulated()).cli("worker", "--devices", "gpu1")
    assert done.returncode != 0
    assert "IMAGEMILL_WORKER_DEVICES: 'gpu1' does not go there; it is all, cpu, or numbers" in done.stderr


def test_large_model_is_served_by_large_devices_alone(make_system: MakeSystem) -> None:
    system = make_system(simulated() + simulated("large", more="min_vram_gb = 80"))
    system.serve()
    worker = start(system, "simulated:24,simulated:80", 2)
    small, large = workers(system)
    assert (small["device"], small["device_memory_gb"]) == ("simulated", 24)
    assert (small["models"], small["left_out"]) == (["sim"], ["large"])
    assert (large["models"], large["left_out"]) == (["sim", "large"], [])
    assert worker.printed("simulated has 24.0 GB, and large asks for 80") == 1
    jobs = [system.submit(model="large") for _ in range(8)]
    assert {system.end_of(job)["status"] for job in jobs} == {"succeeded"}
    client = system.redis()
    assert {client.hget(f"imagemill:job:{job}", "owner") for job in jobs} == {large["name"]}
    shown = system.cli("workers").stdout
    assert "leaves out large: its device has too little memory for it" in " ".join(shown.split())


def test_device_that_can_serve_nothing_is_shown_as_failed_and_the_others_serve(make_system: MakeSystem) -> None:
    system, port = make_system(simulated("large", more="min_vram_gb = 80")), free_port()
    system.serve(env={"IMAGEMILL_METRICS_PORT": str(port)})
    worker = start(system, "simulated:24,simulated:80", 1)

    def failed() -> dict[str, Any] | None:
        return next((each for each in workers(system) if each["state"] == "failed"), None)

    shown = until("the small one is shown as failed", failed)
    assert "-sim0-" in shown["name"]
    reason = "simulated has 24.0 GB, and large asks for 80 (min_vram_gb) in models.toml: serve other models there"
    assert reason in shown["troubles"][0]
    assert reason in system.cli("doctor", "--json").stdout
    failed_gauge = 'imagemill_workers{model="large",queue="gpu.large",state="failed"} 1.0'
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert failed_gauge in answer.read().decode()
    assert worker.printed("starting another") == 0
    assert worker.exit_code is None
    assert system.end_of(system.submit(model="large"))["status"] == "succeeded"
    os.kill(worker.pid or 0, signal.SIGTERM)
    assert worker.wait_for_exit() == 0
    assert workers(system) == []


def test_worker_none_of_whose_devices_can_serve_ends_with_the_code_for_that(make_system: MakeSystem) -> None:
    system = make_system(simulated("large", more="min_vram_gb = 80"))
    worker = system.worker("--devices", "simulated:24,simulated:40", is_ready=False)
    assert worker.wait_for_exit(START_S) == EX_CONFIG
    assert [each["state"] for each in workers(system)] == ["failed", "failed"]
