"""More models than fit: loaded when jobs wait for them, by two processes on two devices, whatever is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.request
from collections import Counter
from typing import Any

from ops.process import free_port
from tests.blackbox.conftest import MakeSystem
from tests.blackbox.system import START_S, Command, System, simulated, until
from tests.processes import children_of

MODELS = ("a", "b", "c", "d")
LONG_S = 240.0  # of many jobs and swaps, on a machine with other work


def entries(load_s: float = 0.5, **more: str) -> str:
    """Four models of 10 GB each."""
    found = [simulated(name, more="memory_gb = 10\n" + more.get(name, "")) for name in MODELS]
    return "".join(found).replace("launch_s=", f"load_s={load_s} launch_s=")


def workers(system: System) -> list[dict[str, Any]]:
    """As the command line lists them, by name."""
    return [json.loads(line) for line in system.cli("workers", "--json").stdout.splitlines()]


def start(system: System, devices: str, ready: int, **env: str) -> Command:
    """A worker on these devices, when so many of its processes take jobs."""
    env = {f"IMAGEMILL_{name}": value for name, value in {"WORKER_CONCURRENCY": "4", **env}.items()}
    worker = system.worker("--devices", devices, env=env)
    until("its processes are ready", lambda: worker.printed(r"worker@\S+ ready") >= ready, START_S)
    return worker


def metric(port: int, name: str) -> Counter[str]:
    """The values of a metric of one process, by model; of other labels the sum."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    found: Counter[str] = Counter()
    for model, value in re.findall(rf'^{name}{{model="(\w+)"[^}}]*}} (\S+)$', text, re.MULTILINE):
        found[model] += int(float(value))
    return found


def test_two_devices_swap_four_models_and_lose_nothing_over_kills(make_system: MakeSystem) -> None:
    """Each holds two. Every model's jobs end, though a process is killed in a swap, and the whole worker again."""
    system, port = make_system(entries()), free_port(2)
    system.serve()
    worker = start(system, "simulated:28,simulated:28", 2, METRICS_PORT=str(port))
    assert [each["loaded"] for each in workers(system)] == [["a", "b"], ["a", "b"]]
    jobs = [system.submit(model=model, n=2) for _ in range(6) for model in MODELS]
    until("a model is loaded for jobs that wait", lambda: worker.printed("loading a model that jobs wait for"), LONG_S)
    os.kill(children_of(worker.pid or 0)[0], signal.SIGKILL)
    until("another process has begun", lambda: worker.printed(r"worker@\S+ ready") == 3, START_S)
    jobs += [system.submit(model=model, n=2) for _ in range(3) for model in reversed(MODELS)]
    os.killpg(worker.pid or 0, signal.SIGKILL)
    worker.wait_for_exit()
    start(system, "simulated:28,simulated:28", 2, METRICS_PORT=str(port))
    assert Counter(system.end_of(job, deadline_s=LONG_S)["status"] for job in jobs) == {"succeeded": len(jobs)}

    jobs = [system.submit(model=model) for model in MODELS]
    assert {system.end_of(job, deadline_s=LONG_S)["status"] for job in jobs} == {"succeeded"}
    loads = metric(port, "imagemill_model_loads_total") + metric(port + 1, "imagemill_model_loads_total")
    unloads = metric(port, "imagemill_model_unloads_total") + metric(port + 1, "imagemill_model_unloads_total")
    assert loads["c"] + loads["d"] >= 2
    assert unloads.total() == loads.total()  # Each took the place of one.
    lie_there = [metric(port + number, "imagemill_model_loaded") for number in range(2)]
    shown = [{model for model in MODELS if each[model]} for each in lie_there]
    assert [len(each) for each in shown] == [2, 2]
    until("the killed ones are forgotten", lambda: len(workers(system)) == 2)
    assert sorted(sorted(each["loaded"]) for each in workers(system)) == sorted(map(sorted, shown))


def test_model_that_is_not_loaded_is_served_and_its_first_job_waits_for_the_load(make_system: MakeSystem) -> None:
    system = make_system(entries())
    system.serve(env={"IMAGEMILL_UNSERVED_MODELS": "refuse"})
    worker = start(system, "simulated:14", 1)
    assert worker.printed(r"models are loaded when jobs wait for them.*room_gb.*10") == 1
    job = system.submit(model="d")  # Refused where nobody served it.
    assert system.end_of(job, deadline_s=LONG_S)["status"] == "succeeded"
    (shown,) = workers(system)
    assert (shown["loaded"], shown["models"], shown["troubles"]) == (["d"], list(MODELS), [])
    assert "d (a, b, c when asked for)" in " ".join(system.cli("workers", env={"COLUMNS": "250"}).stdout.split())

    start(system, "simulated:14", 1)  # Another one. When the first leaves, its queue is not stranded.
    os.kill(worker.pid or 0, signal.SIGTERM)
    assert worker.wait_for_exit() == 0
    assert system.end_of(system.submit(model="d"), deadline_s=LONG_S)["status"] == "succeeded"
    assert [each["loaded"] for each in workers(system)] == [["d"]]


def test_pinned_model_stays_and_an_idle_one_goes(make_system: MakeSystem) -> None:
    system = make_system(entries())
    system.serve()
    env = {"WORKER_PINNED": "b", "WORKER_UNLOAD_IDLE_S": "1", "WORKER_MODELS_GB": "20"}
    start(system, "cpu", 1, **env)
    for model in ("c", "d", "a"):
        assert system.end_of(system.submit(model=model), deadline_s=LONG_S)["status"] == "succeeded"
    until("the others are unloaded", lambda: [each["loaded"] for each in workers(system)] == [["b"]], LONG_S)
    assert system.end_of(system.submit(model="b"))["status"] == "succeeded"


def test_model_that_cannot_be_loaded_is_tried_once_and_the_others_go_on(make_system: MakeSystem) -> None:
    """Its source is there when the worker starts, as far as it looks; it is seen when jobs wait for it."""
    text = entries().replace('[models.c]\nsource = "load_s=0.5', '[models.c]\nsource = "nonsense=1 load_s=0.5')
    system = make_system(text)
    system.serve()
    worker = start(system, "simulated:28", 1)
    waiting = system.submit(model="c")
    until("it is not served any more", lambda: "c" not in workers(system)[0]["models"], LONG_S)
    (shown,) = workers(system)
    assert "cannot load c: simulated model: source" in shown["troubles"][0]
    assert system.end_of(system.submit(model="d"), deadline_s=LONG_S)["status"] == "succeeded"
    assert worker.printed("does not try it again") == 1
    assert system.job(waiting)["status"] == "queued"
    assert "cannot load c: simulated model: source" in system.cli("doctor", "--json").stdout
