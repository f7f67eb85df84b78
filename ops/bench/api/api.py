"""
How fast one API process answers status reads, what waiting clients cost, and how one key's attacks affect another.

For the first two the process has a core of its own; Redis and the clients share the others. Attacks are made on a
whole system, in which nothing has a core of its own: a slow answer may also come of what the attacker's process takes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from jobs.errors import InvalidRequest
from ops.bench.api.attacks.table import ATTACKS
from ops.bench.api.http_load import Connection, Load, Target, connected, flat_out, paced
from ops.bench.api.replica import Replica, replica
from ops.bench.api.two_keys import MOST_RATIO, Round, TwoKeys, two_keys
from ops.bench.report.plot import Bars, plot
from ops.bench.report.report import Figure, Report, publish
from ops.bench.report.rounds import alternate
from ops.bench.report.surroundings import look_around

READS_PER_S = 1_000
WAITERS = 200

_SETTLE_S = 1.0  # For what is closed to be forgotten.


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """
    How much is measured.

    Attributes:
        seconds: Of each measurement of reads and waiters.
        attack_s: Of each attack.
        jobs: That wait in the queue.
        attacks: By their names.
    """

    rounds: int
    seconds: float
    attack_s: float
    jobs: int
    attacks: tuple[str, ...] = tuple(ATTACKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """Status reads: as fast as they go, and `READS_PER_S`."""

    most_per_s: float
    p50_ms: float
    p99_ms: float


def named(attacks: Sequence[str]) -> tuple[str, ...]:
    """
    The attacks of these names; all, if there are none.

    Raises:
        InvalidRequest: There is no such attack.
    """
    for name in attacks:
        if name not in ATTACKS:
            raise InvalidRequest("attack", f"there is no attack {name!r}; the attacks are: {', '.join(ATTACKS)}")
    return tuple(attacks or ATTACKS)


def bench_api(effort: Effort, folder: Path, console: Console) -> Report:
    """Measure, print, and write `api.json` and `api.png`. Raises `StackError`."""
    surroundings = look_around(**dataclasses.asdict(effort))
    with replica(effort.jobs, {}) as running:
        reads = alternate(_readers(running, effort), effort.rounds, console)
        waiting = [_commands_of_waiters(running, effort.seconds) for _ in range(effort.rounds)]
    with two_keys() as system:
        attackers = {name: partial(_attack, system, name, effort.attack_s) for name in effort.attacks}
        attacked = alternate(attackers, effort.rounds, console)
    report = Report(
        name="api",
        title=f"api: one process, medians of {effort.rounds} rounds",
        figures=[*_of_reads(reads), _of_waiters(waiting), *_of_attacks(attacked)],
        surroundings=surroundings,
        rounds={
            "reads": {name: [dataclasses.asdict(each) for each in found] for name, found in reads.items()},
            "commands_of_a_waiter_per_s": waiting,
            "attacks": {name: [_fields_of(each) for each in found] for name, found in attacked.items()},
        },
    )
    plot(_panels(reads, attacked), folder / "api.png")
    publish(report, folder, console)
    console.print(to_table_of_attacks(attacked))
    return report


def _attack(system: TwoKeys, name: str, seconds: float, _: int) -> Round:
    return system.round(name, seconds)


def _fields_of(found: Round) -> dict[str, Any]:
    ratios = {of: getattr(found, of) for of in ("request_ratio", "job_ratio", "expired_ratio")}
    return dataclasses.asdict(found) | ratios | {"answered": dict(found.answered)}


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


def _of_attacks(attacked: Mapping[str, list[Round]]) -> list[Figure]:
    figures = []
    for name, found in attacked.items():
        requests, jobs, expired = (median_of(found, of) for of in ("request_ratio", "job_ratio", "expired_ratio"))
        lost = sum(len(each.lost) for each in found)
        ratio = partial(Figure, unit="×", target=MOST_RATIO, at_most=True)
        figures += [
            ratio(what=f"{name}: another key's requests, p95, attacked ÷ quiet", value=requests),
            ratio(what="… its jobs", value=jobs),
            ratio(what="… its jobs whose deadline passes", value=expired),
            Figure(what="… what it lost", value=lost, target=0, at_most=True),
        ]
    return figures


def to_table_of_attacks(attacked: Mapping[str, list[Round]]) -> Table:
    """What another key saw, and what the attackers were answered."""
    title = "one key attacks; another one's p95, quiet → attacked"
    table = Table(
        "attack", "requests, ms", "×", "jobs, ms", "×", "expired, ms", "×", "lost", "MiB", "answered", title=title
    )
    for name, found in attacked.items():
        answered = sum((Counter(each.answered) for each in found), Counter[str]())
        table.add_row(
            name,
            f"{median_of(found, 'quiet_request_ms'):.0f} → {median_of(found, 'request_ms'):.0f}",
            f"{median_of(found, 'request_ratio'):.1f}",
            f"{median_of(found, 'quiet_job_ms'):.0f} → {median_of(found, 'job_ms'):.0f}",
            f"{median_of(found, 'job_ratio'):.1f}",
            f"{median_of(found, 'quiet_expired_ms'):.0f} → {median_of(found, 'expired_ms'):.0f}",
            f"{median_of(found, 'expired_ratio'):.1f}",
            str(sum(len(each.lost) for each in found)),
            f"{max(each.grown_mib for each in found):+.0f}",
            ", ".join(f"{status} {times} times" for status, times in answered.most_common()) or "nothing yet",
        )
    return table


def median_of(found: list[Round], of: str) -> float:
    """Of a value of each round."""
    return float(statistics.median(getattr(each, of) for each in found))


def _panels(reads: Mapping[str, list[Reads]], attacked: Mapping[str, list[Round]]) -> list[Bars]:
    def bars(title: str, unit: str, found: Mapping[str, list[Any]], of: str) -> Bars:
        rounds = {name: [getattr(each, of) for each in each_round] for name, each_round in found.items()}
        return Bars(title=title, unit=unit, rounds=rounds)

    return [
        bars("status reads, as many as there can be", "reads/s", reads, "most_per_s"),
        bars(f"status reads, {READS_PER_S} a second", "p99, ms", reads, "p99_ms"),
        bars("another key's requests during …", "p95, attacked ÷ quiet", attacked, "request_ratio"),
    ]
