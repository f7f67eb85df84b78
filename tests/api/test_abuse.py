"""Clients that send too much, too deep, too slowly, or listen too many are refused or served, and harm nobody."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from jobs.kinds.picture import Stage
from jobs.process.settings import Settings
from jobs.table.claim import Claim
from jobs.table.states import Status
from jobs.table.table import JobTable
from ops.bench.api.attacks.attacking import attack
from ops.bench.api.attacks.connections import STREAMS
from ops.bench.api.attacks.table import ATTACKS
from ops.bench.api.http_load import Load, Target, connected, paced
from ops.process import LOOPBACK, wait_until
from ops.programs import Api
from tests.warm.popen import cold

DEADLINE_S = 60.0
OTHERS_PER_S = 50
MOST_GROWN_MIB = 100  # Two bodies of 50 MB at once would be that, if they were kept; 500 streams take about 10.
# What attackers are answered, and how long that takes: a head 10 s, a body what `env` says.
REFUSALS = {
    "50 MB bodies": ({"413"}, 3),
    "million-character prompts": ({"422"}, 3),
    "10,000 levels of JSON": ({"400"}, 3),
    "clients of 1 byte/s": ({"408"}, 12),
    f"{STREAMS} event streams": ({"200"}, 5),
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """What is claimed here stays claimed."""
    return settings.model_copy(update={"lease_s": 300.0})


@pytest.fixture
def api(env: dict[str, str], log: list[str]) -> Iterator[Api]:
    """Nobody ends its jobs. What it takes of memory is its own alone."""
    api = Api(0, {**env, "IMAGEMILL_API_BODY_TIMEOUT_S": "2", "IMAGEMILL_LEASE_S": "300"})
    with cold():
        api.start(log.append)
    try:
        api.wait_until_ready()
        yield api
    finally:
        api.stop()


@pytest.fixture
def target(api: Api, claimed: Claim) -> Target:
    return Target(host=LOOPBACK, port=api.port or 0, job_id=claimed.job_id)


def memory_mib(api: Api, what: str) -> float:
    lines = Path(f"/proc/{api.pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{what}:"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux' /proc")
@pytest.mark.parametrize("name", REFUSALS)
def test_others_are_served_meanwhile(api: Api, target: Target, log: list[str], name: str) -> None:
    statuses, seconds = REFUSALS[name]

    async def both() -> tuple[Load, Counter[str]]:
        reads = paced(target, f"/v1/jobs/{target.job_id}", OTHERS_PER_S, seconds, connections=4)
        return await asyncio.gather(reads, attack(ATTACKS[name], target, seconds))

    before = memory_mib(api, "VmRSS")
    others, attackers = asyncio.run(both())
    assert (set(others.statuses), others.statuses["200"]) == ({"200"}, OTHERS_PER_S * seconds)
    assert set(attackers) == statuses
    assert memory_mib(api, "VmHWM") - before < MOST_GROWN_MIB
    assert [line for line in log if "bug" in line or "Traceback" in line] == []


def test_every_one_of_many_streams_hears_everything(
    target: Target, table: JobTable, claimed: Claim, redis_client: redis.Redis
) -> None:
    """All at once, and while they wait they cost Redis nothing each: their process has one subscription."""
    steps = 10

    async def listen(opened: asyncio.Semaphore) -> bytes:
        heard = b""
        async with connected(target) as connection:
            await connection.send(target.head("GET", f"/v1/jobs/{target.job_id}/events"))
            while b"event: completed" not in heard:
                chunk = await connection.read()
                assert chunk, heard
                if b"event:" in heard + chunk and b"event:" not in heard:
                    opened.release()  # It has read what there was, and waits.
                heard += chunk
        return heard

    async def all_of_them() -> list[bytes]:
        opened = asyncio.Semaphore(0)
        async with asyncio.timeout(DEADLINE_S):
            tasks = [asyncio.create_task(listen(opened)) for _ in range(STREAMS)]
            for _ in tasks:
                await opened.acquire()
            assert await asyncio.to_thread(commands_while_nothing_happens, redis_client) < STREAMS / 5
            for step in range(steps):
                await asyncio.to_thread(table.progress, claimed, Stage.GENERATE, step, steps)
            await asyncio.to_thread(table.finish, claimed, Status.CANCELED)
            return await asyncio.gather(*tasks)

    heard = asyncio.run(all_of_them())
    assert {each.count(b"event: progress") for each in heard} == {steps}
    assert {each.count(b"event: completed") for each in heard} == {1}


def commands_while_nothing_happens(client: redis.Redis) -> int:
    """Commands of Redis, while the reconciler of the API goes by twice."""

    def calls() -> dict[str, int]:
        return {name: each["calls"] for name, each in client.info("commandstats").items() if name != "cmdstat_info"}

    before = calls()
    assert wait_until(lambda: calls()["cmdstat_set"] >= before["cmdstat_set"] + 2, DEADLINE_S)
    return sum(calls().values()) - sum(before.values())
