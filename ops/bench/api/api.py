"""
How fast one API process tells where jobs stand, what those who wait cost, and what abuse does to everybody else.

The process has a core of its own. Redis, whoever asks and whoever attacks share the others, so that a slow answer may
also be theirs.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from ops.bench.api.attacks import ATTACKS
from ops.bench.api.http_load import Connection, Load, Target, connected, flat_out, paced
from ops.bench.api.replica import Replica, replica
from ops.bench.report.plot import Bars, plot
from ops.bench.report.report import Figure, Report, publish
from ops.bench.report.rounds import alternate
from ops.bench.report.surroundings import look_around
from ops.settings import CHECKOUT

READS_PER_S = 1_000
OTHERS_PER_S = 100
WAITERS = 200

_QUIET = "nothing"
_SETTINGS = {"IMAGEMILL_API_BODY_TIMEOUT_S": "8"}  # So that slow bodies are refused while they are looked at.
_SETTLE_S = 1.0  # For what is closed to be forgotten.
_ENDS_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """
    How much is measured.

    Attributes:
        seconds: Of each measurement of reads and waiters.
        attack_s: Of each attack; a head may take 10 s.
        jobs: That wait in the queue.
    """

    rounds: int
    seconds: float
    attack_s: float
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """Status reads: as fast as they go, and `READS_PER_S`."""

    most_per_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """
    What others saw, who read `OTHERS_PER_S` statuses.

    Attributes:
        failed: Of their requests.
        attackers: What those were answered who attacked, by status.
        grown_mib: What the process' resident memory had grown by, and `peak_mib` what it had at most, ever.
    """

    p50_ms: float
    p99_ms: float
    failed: int
    attackers: Mapping[str, int]
    grown_mib: float
    peak_mib: float


def bench_api(effort: Effort, folder: Path, console: Console) -> Report:
    """Measure, print, and write `api.json` and `api.png`."""
    surroundings = look_around(**dataclasses.asdict(effort), **_SETTINGS)
    with replica(effort.jobs, _SETTINGS) as running:
        reads = alternate(_readers(running, effort), effort.rounds, console)
        waiting = [_commands_of_waiters(running, effort.seconds) for _ in range(effort.rounds)]
        others = alternate(_attackers(running, effort), effort.rounds, console)
    report = Report(
        name="api",
        title=f"api: one process on one core, medians of {effort.rounds} rounds",
        figures=[*_of_reads(reads), _of_waiters(waiting), *_of_attacks(others)],
        surroundings=surroundings,
        rounds={
            "reads": {name: [dataclasses.asdict(each) for each in found] for name, found in reads.items()},
            "commands_of_a_waiter_per_s": waiting,
            "attacks": {name: [dataclasses.asdict(each) for each in found] for name, found in others.items()},
        },
    )
    plot(_panels(reads, others), folder / "api.png")
    publish(report, folder, console)
    for attack in ATTACKS:
        console.print(f"{attack} were answered {_told(others[attack])}", highlight=False)
    return report


def _readers(running: Replica, effort: Effort) -> dict[str, Callable[[int], Reads]]:
    def read(path: str) -> Reads:
        most = asyncio.run(flat_out(running.target, path, effort.seconds))
        steady = asyncio.run(paced(running.target, path, READS_PER_S, effort.seconds))
        return Reads(
            most_per_s=most.per_s * _share_of_good(most),
            p50_ms=steady.percentile_ms(50),
            p99_ms=steady.percentile_ms(99),
        )

    return {
        "a finished job": lambda _: read(running.finished),
        f"a job behind {effort.jobs - 1} others": lambda _: read(running.queued),
    }


def _share_of_good(load: Load) -> float:
    return load.statuses["200"] / sum(load.statuses.values())


def _commands_of_waiters(running: Replica, seconds: float) -> float:
    """Commands that Redis runs in a second for each open event stream, less those that it runs anyway."""

    async def count() -> int:
        await asyncio.sleep(_SETTLE_S)
        before = running.commands()
        await asyncio.sleep(seconds)
        return running.commands() - before

    async def with_waiters() -> int:
        async with asyncio.TaskGroup() as group:
            opened = [asyncio.Event() for _ in range(WAITERS)]
            tasks = [group.create_task(_wait(running.target, each)) for each in opened]
            await asyncio.gather(*(each.wait() for each in opened))
            counted = await count()
            for task in tasks:
                task.cancel()
            return counted

    anyway = asyncio.run(count())
    return (asyncio.run(with_waiters()) - anyway) / WAITERS / seconds


async def _wait(target: Target, opened: asyncio.Event) -> None:
    async with connected(target) as connection:
        await connection.send(target.head("GET", f"/v1/jobs/{target.job_id}/events"))
        while b"event: status" not in await _read(connection):
            pass
        opened.set()
        while await connection.read():
            pass


async def _read(connection: Connection) -> bytes:
    if chunk := await connection.read():
        return chunk
    raise ConnectionError("the stream has ended")


def _attackers(running: Replica, effort: Effort) -> dict[str, Callable[[int], Others]]:
    return {name: partial(_look, running, name, effort.attack_s) for name in (_QUIET, *ATTACKS)}


def _look(running: Replica, name: str, seconds: float, _: int) -> Others:
    before = running.memory_mib()
    target = running.target
    attack: subprocess.Popen[str] | None = None
    if name != _QUIET:
        words = [name, target.host, str(target.port), target.job_id, str(seconds)]
        command = [sys.executable, "-m", "ops.bench.api.attacks", *words]
        attack = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)
    seen = asyncio.run(paced(target, running.finished, OTHERS_PER_S, seconds))
    attackers: dict[str, int] = {}
    if attack:
        output = attack.communicate(timeout=seconds + _ENDS_S)[0]
        attackers = json.loads(output)
    time.sleep(_SETTLE_S)
    return Others(
        p50_ms=seen.percentile_ms(50),
        p99_ms=seen.percentile_ms(99),
        failed=sum(seen.statuses.values()) - seen.statuses["200"],
        attackers=attackers,
        grown_mib=running.memory_mib() - before,
        peak_mib=running.memory_mib("VmHWM"),
    )


def _of_reads(reads: Mapping[str, list[Reads]]) -> list[Figure]:
    figures = []
    for name, found in reads.items():
        most, p50, p99 = (
            statistics.median(getattr(each, of) for each in found) for of in ("most_per_s", "p50_ms", "p99_ms")
        )
        figures += [
            Figure(what=f"reads of {name}", value=most, unit="/s", target=READS_PER_S),
            Figure(what=f"… {READS_PER_S} a second: p50", value=p50, unit="ms"),
            Figure(what=f"… {READS_PER_S} a second: p99", value=p99, unit="ms"),
        ]
    return figures


def _of_waiters(waiting: list[float]) -> Figure:
    what = f"Redis commands a second for each of {WAITERS} open event streams"
    return Figure(what=what, value=statistics.median(waiting), target=0.01, at_most=True)


def _of_attacks(others: Mapping[str, list[Others]]) -> list[Figure]:
    figures = []
    for name, found in others.items():
        p50, p99 = (statistics.median(getattr(each, of) for each in found) for of in ("p50_ms", "p99_ms"))
        failed = sum(each.failed for each in found)
        grown = max(each.grown_mib for each in found)
        figures += [
            Figure(what=f"during {name}: others' p50", value=p50, unit="ms"),
            Figure(what="… p99", value=p99, unit="ms"),
            Figure(what="… failed", value=failed, target=0, at_most=True),
            Figure(what="… memory has grown by", value=grown, unit="MiB"),
        ]
    return figures


def _told(found: list[Others]) -> str:
    total: Counter[str] = Counter()
    for each in found:
        total.update(each.attackers)
    return ", ".join(f"{status} {times} times" for status, times in total.most_common()) or "nothing yet"


def _panels(reads: Mapping[str, list[Reads]], others: Mapping[str, list[Others]]) -> list[Bars]:
    def bars(title: str, unit: str, found: Mapping[str, list[Any]], of: str) -> Bars:
        rounds = {name: [getattr(each, of) for each in each_round] for name, each_round in found.items()}
        return Bars(title=title, unit=unit, rounds=rounds)

    return [
        bars("status reads, as many as there can be", "reads/s", reads, "most_per_s"),
        bars(f"status reads, {READS_PER_S} a second", "p99, ms", reads, "p99_ms"),
        bars("others' reads during …", "p99, ms", others, "p99_ms"),
    ]
