"""`./imagemill workers`: the workers that there are, and messages that none of them receives."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from jobs.fleet.backlog import backlog_in, unread_in
from jobs.fleet.fleet import WorkerReport, device_of, troubles_of
from jobs.kinds.registry import queues_for
from producer.cli.output.reporting import JsonFlag, ago, reporting, warn
from producer.cli.output.terminal import Terminal, print_json, say
from producer.client.parts import open_parts


def workers(as_json: JsonFlag = False) -> None:
    """List workers with their models, jobs, state and problems; warn about messages that no worker receives."""
    with reporting(as_json):
        parts = open_parts()
        found = parts.fleet.workers()
        unread = unread_in(backlog_in(parts.redis, parts.settings, queues_for(parts.catalogue.models)), found)
        for queue, count in unread.items():
            warn(_unread(queue, count))
        if as_json:
            for each in found:
                print_json(_described(each))
            return
        table = Table("worker", "state", "device", "models", "slots", "since", "jobs")
        for each in found:
            shown = ", ".join(each.jobs[:3]) + (f" and {len(each.jobs) - 3} more" if len(each.jobs) > 3 else "")
            table.add_row(
                each.name,
                each.state,
                device_of(each),
                _models_of(each),
                str(each.slots),
                ago(each.started_at),
                shown,
            )
        Terminal().print(table)
        for each in found:
            if each.left_out:
                say(f"{each.name} leaves out {', '.join(each.left_out)}: its device has too little memory for it")
            for trouble in troubles_of(each):
                say(f"{each.name} {trouble}")


def _unread(queue: str, count: int) -> str:
    wait = "1 message waits" if count == 1 else f"{count:,} messages wait"
    return f"{wait} in {queue}, and no worker receives from it; run `./imagemill doctor` for advice"


def _models_of(worker: WorkerReport) -> str:
    """Those that are loaded, and in brackets those that it loads when jobs wait for them."""
    loaded = worker.models if worker.loaded is None else worker.loaded
    others = ", ".join(each for each in worker.models if each not in loaded)
    return ", ".join(loaded) + (f" ({others} when asked for)" if others else "")


def _described(worker: WorkerReport) -> dict[str, Any]:
    shown = {"name": worker.name, "state": worker.state, "models": worker.models, "jobs": worker.jobs}
    loaded = worker.models if worker.loaded is None else worker.loaded
    models = {"loaded": loaded, "left_out": worker.left_out, "not_loaded": worker.not_loaded}
    device = {"device": worker.device, "device_memory_gb": worker.device_memory_gb}
    return {**shown, **models, **device, "detached": worker.detached, "troubles": troubles_of(worker)}
