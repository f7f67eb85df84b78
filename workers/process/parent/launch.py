"""Starts a worker: checks what it needs, then is the parent of its Celery processes. Imports no torch."""

from __future__ import annotations

import os
import socket
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import tenacity

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import OlderVersionRuns, RedisUnavailable
from jobs.fleet.fleet import WorkerReport
from jobs.kinds.registry import queues_for
from jobs.names import line_of
from jobs.process.settings import Settings, load_settings
from jobs.redis.connection import connect, map_errors
from jobs.table.older import wait_for_older_to_go
from storage.errors import StorageError, StorageUnavailable
from storage.registry import open_store
from workers.families.registry import check_family
from workers.process.devices.choice import SETTING, find_devices
from workers.process.logs import configure_logging
from workers.process.parent.ended import EndedProcesses
from workers.process.parent.failures import note_failure
from workers.process.parent.supervise import EX_CONFIG, Command, supervise
from workers.process.settings import WorkerSettings, load_worker_settings
from workers.runners.signing import PictureSigner

_CHECKOUT = Path(__file__).resolve().parents[3]


def launch(
    models: list[str],
    concurrency: int | None,
    wait_s: float,
    processes: int | None = None,
    devices: str | None = None,
) -> int:
    """
    Run a worker until it ends by itself or is stopped.

    Args:
        models: Names to serve; empty for what the settings say.
        concurrency: Jobs in hand at a time, of each process; None for what the settings say, or the engine takes.
        wait_s: How long to wait for Redis and the store, in seconds.
        processes: How many on each device; None for what the settings say.
        devices: That have a process each, as in the settings; None for what these say.

    Returns:
        The exit code: that of `EX_CONFIG` where no process can start as it is configured.

    Raises:
        RedisUnavailable, StorageUnavailable, StorageMisconfigured, InvalidConfiguration, OlderVersionRuns: With what
            to do.
    """
    if models:
        os.environ["IMAGEMILL_WORKER_MODELS"] = ",".join(models)
    if devices:
        os.environ[SETTING] = devices
    settings, worker = load_settings(), load_worker_settings()
    configure_logging(form=settings.log_format)
    catalogue = Catalogue.read(settings.models_file)
    names = worker.served(catalogue)
    worker.pinned_models(catalogue)  # So that a wrong one ends this process, and not each of its own.
    if worker.certificate:
        PictureSigner(worker.certificate)  # Its processes make their own.
    for name in names:
        check_family(catalogue.models[name])
    places = [device for device in find_devices(worker) for _ in range(processes or worker.processes)]
    report = WorkerReport(name=_name(worker.name), state="starting", models=tuple(names))
    try:
        _wait_for_services(settings, wait_s)
    except (OlderVersionRuns, StorageError) as exc:
        note_failure(settings, report, str(exc))
        raise
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # Its import advises on image processors, never used here.
    if concurrency:
        os.environ["IMAGEMILL_WORKER_CONCURRENCY"] = str(concurrency)
    queues = [line_of(queue) for queue in queues_for(names)]
    reports = [replace(report, name=_name(worker.name, device.mark)) for device in places]
    commands = [
        Command(
            name=each.name,
            argv=_command(queues, each.name),
            env={**_share_of(number, len(places), settings, worker), **device.env},
        )
        for number, (device, each) in enumerate(zip(places, reports, strict=True))
    ]
    with EndedProcesses(settings, reports) as ended:
        code = supervise(commands, ended.note)
        if code != EX_CONFIG:
            ended.forget()
    return code


def _name(given: str = "", device: str = "") -> str:
    """Of a worker, with a mark of its device, if any, and one of this start: no two have one name."""
    marks = [device] if device else []
    return "worker@" + "-".join([given or socket.gethostname(), *marks, uuid.uuid4().hex[:6]])


def _share_of(number: int, count: int, settings: Settings, worker: WorkerSettings) -> dict[str, str]:
    """What sets one of several processes apart: a part of the processors, and a port of its own for its metrics."""
    if count == 1:
        return {}
    threads = worker.threads or threads_of_each(count)
    port = {"IMAGEMILL_METRICS_PORT": str(settings.metrics_port + number)} if settings.metrics_port else {}
    return {"IMAGEMILL_WORKER_THREADS": str(threads), **port}


def threads_of_each(processes: int) -> int:
    """How torch's threads are divided among the processes of a worker; 0 for one, which leaves it to torch."""
    return 0 if processes == 1 else max(1, len(os.sched_getaffinity(0)) // processes)


def _command(queues: list[str], name: str = "") -> list[str]:
    options = {
        "pool": "threads",
        "queues": ",".join(queues),
        "hostname": name or _name(),
        "loglevel": "INFO",
    }
    flags = [f"--{option}={value}" for option, value in options.items()]
    # Celery imports from its working directory first, and the caller's may hold a folder named `storage`.
    celery = [
        sys.executable,
        "-m",
        "celery",
        "--quiet",
        "--workdir",
        str(_CHECKOUT),
        "-A",
        "workers.process.app",
        "worker",
    ]
    return [*celery, *flags, "--without-gossip", "--without-mingle"]


def _wait_for_services(settings: Settings, wait_s: float) -> None:
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((RedisUnavailable, StorageUnavailable)),
        stop=tenacity.stop_after_delay(wait_s),
        wait=tenacity.wait_fixed(0.2),
        reraise=True,
    )
    retrying(_ping_redis, settings)
    wait_for_older_to_go(connect(settings), settings)
    store = open_store()
    retrying(store.prepare)
    retrying(store.check_write)  # Before models are loaded and jobs are run whose pictures nobody could store.


def _ping_redis(settings: Settings) -> None:
    with map_errors(settings):
        connect(settings).ping()
