"""What the doctor makes of what Redis says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from ops.doctor import redis_rules as rules
from ops.doctor.finding import State

MIB = 2**20


@pytest.mark.parametrize(
    ("info", "state", "found"),
    [
        ({"redis_version": "7.0.15"}, State.OK, "Redis 7.0.15"),
        ({"redis_version": "8.2.1"}, State.OK, "Redis 8.2.1"),
        ({"redis_version": "10.0.0"}, State.OK, "Redis 10.0.0"),
        ({"redis_version": "6.2.14"}, State.FAILURE, "Redis 6.2.14 is too old"),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.5"}, State.OK, "Valkey 7.2.5"),
        ({"redis_version": "7.2.4", "valkey_version": "9.0.0"}, State.OK, "Valkey 9.0.0"),
        ({"redis_version": "7.2.4", "valkey_version": "7.1.0"}, State.FAILURE, "Valkey 7.1.0 is too old"),
        ({"redis_version": "unstable"}, State.WARNING, "unstable"),
        ({}, State.WARNING, "does not say"),
    ],
)
def test_version(info: dict[str, Any], state: State, found: str) -> None:
    finding = rules.judge_version(info)
    assert finding.state is state
    assert found in finding.found
    assert bool(finding.advice) is (state is not State.OK)


@pytest.mark.parametrize(
    ("info", "state", "found"),
    [
        ({"redis_mode": "standalone", "role": "master", "connected_slaves": 0}, State.OK, "primary, no replicas"),
        ({"redis_mode": "standalone", "role": "master", "connected_slaves": 1}, State.OK, "primary, 1 replica"),
        ({"redis_mode": "standalone", "role": "slave"}, State.FAILURE, "it is a slave"),
        ({"redis_mode": "cluster", "role": "master"}, State.FAILURE, "Redis Cluster"),
        ({"redis_mode": "sentinel"}, State.FAILURE, "it is a replica"),
    ],
)
def test_role(info: dict[str, Any], state: State, found: str) -> None:
    finding = rules.judge_role(info)
    assert (finding.state, finding.found.startswith(found) or found in finding.found) == (state, True)


@pytest.mark.parametrize(
    ("info", "state"),
    [
        ({"aof_enabled": 1, "aof_last_write_status": "ok", "aof_last_bgrewrite_status": "ok"}, State.OK),
        ({"aof_enabled": 0}, State.FAILURE),
        ({}, State.FAILURE),
        ({"aof_enabled": 1, "aof_last_write_status": "err"}, State.FAILURE),
        ({"aof_enabled": 1, "aof_last_write_status": "ok", "aof_last_bgrewrite_status": "err"}, State.FAILURE),
    ],
)
def test_persistence(info: dict[str, Any], state: State) -> None:
    assert rules.judge_persistence(info).state is state


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "volatile-ttl", "volatile-random", "unknown"])
def test_every_policy_but_noeviction_may_lose_jobs(policy: str) -> None:
    finding = rules.judge_eviction({"maxmemory_policy": policy})
    assert finding.state is State.FAILURE
    assert finding.found.startswith(policy)
    assert "maxmemory-policy noeviction" in finding.advice
    assert rules.judge_eviction({"maxmemory_policy": "noeviction"}).state is State.OK


@pytest.mark.parametrize(
    ("used", "most", "machine", "state"),
    [
        (70 * MIB, 100 * MIB, 0, State.OK),
        (71 * MIB, 100 * MIB, 0, State.WARNING),
        (85 * MIB, 100 * MIB, 0, State.WARNING),
        (86 * MIB, 100 * MIB, 0, State.FAILURE),
        (50 * MIB, 0, 100 * MIB, State.INFORMATION),
        (51 * MIB, 0, 100 * MIB, State.WARNING),
        (51 * MIB, 0, 0, State.INFORMATION),
    ],
)
def test_memory_is_judged_by_its_limit_or_by_the_machines(used: int, most: int, machine: int, state: State) -> None:
    finding = rules.judge_memory({"used_memory": used, "maxmemory": most, "total_system_memory": machine})
    assert finding.state is state
    assert f"{used // MIB} " in finding.found


@pytest.mark.parametrize(
    ("ahead_s", "uncertainty_s", "state", "found"),
    [
        (0.0, 0.001, State.OK, "within 0.1 s"),
        (-1.9, 0.0, State.OK, "within 1.9 s"),
        (2.5, 0.0, State.WARNING, "2 s ahead of"),
        (-30.0, 1.0, State.WARNING, "29 s behind"),
        (3.0, 2.0, State.OK, "within 1.0 s"),
        (60.0, 0.0, State.FAILURE, "60 s ahead of"),
        (-3600.0, 0.0, State.FAILURE, "3600 s behind"),
    ],
)
def test_clock(ahead_s: float, uncertainty_s: float, state: State, found: str) -> None:
    finding = rules.judge_clock(ahead_s, uncertainty_s)
    assert finding.state is state
    assert finding.found.startswith(found)
