"""What the job table needs of a Redis, checked by Redis' INFO."""

from __future__ import annotations

import re
from typing import Any

from jobs.redis.memory import FULL_SHARE
from ops.doctor.finding import Finding, State

VERSION, ROLE, PERSISTENCE = "Redis version", "Redis role", "Redis persistence"
EVICTION, MEMORY, CLOCK = "Redis eviction", "Redis memory", "Redis clock"

_OLDEST_REDIS, _OLDEST_VALKEY = (7, 0), (7, 2)  # Scripts with flags.
_FILLING_SHARE = 0.7  # of maxmemory
_CROWDED_SHARE = 0.5  # of the machine's memory, without maxmemory: a rewrite of the log may take as much again
_CLOSE_CLOCKS_S, _FAR_CLOCKS_S = 2.0, 60.0


def judge_version(info: dict[str, Any]) -> Finding:
    """Redis 7, or Valkey 7.2, which calls itself Redis 7.2.4 to those who ask for Redis' version."""
    is_valkey = "valkey_version" in info
    name, oldest = ("Valkey", _OLDEST_VALKEY) if is_valkey else ("Redis", _OLDEST_REDIS)
    version = str(info.get("valkey_version" if is_valkey else "redis_version", ""))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    needed = "Use Redis 7 or newer, or Valkey 7.2 or newer: the job table's scripts need it."
    if not numbers:
        found = f"it does not say which version it is ({version!r})"
        return Finding(check=VERSION, state=State.WARNING, found=found, advice=needed)
    if (int(numbers[1]), int(numbers[2])) < oldest:
        return Finding(check=VERSION, state=State.FAILURE, found=f"{name} {version} is too old", advice=needed)
    return Finding(check=VERSION, state=State.OK, found=f"{name} {version}")


def judge_role(info: dict[str, Any]) -> Finding:
    """One primary, which can be written to; scripts span keys, which a cluster refuses."""
    if info.get("redis_mode") == "cluster":
        advice = "Use a Redis without cluster mode, alone or behind Sentinel: the job table's scripts span keys."
        return Finding(check=ROLE, state=State.FAILURE, found="it is part of a Redis Cluster", advice=advice)
    if info.get("role") != "master":
        advice = "Set IMAGEMILL_REDIS_URL to the primary: a replica takes no writes."
        return Finding(check=ROLE, state=State.FAILURE, found=f"it is a {info.get('role', 'replica')}", advice=advice)
    replicas = int(info.get("connected_slaves", 0))
    return Finding(check=ROLE, state=State.OK, found=f"primary, {_count(replicas, 'replica')}")


def judge_persistence(info: dict[str, Any]) -> Finding:
    """An append-only file, that can be written."""
    if not int(info.get("aof_enabled", 0)):
        found = "no append-only file: a restart loses all jobs"
        advice = "Set `appendonly yes` in redis.conf, and `CONFIG SET appendonly yes` on the running server."
        return Finding(check=PERSISTENCE, state=State.FAILURE, found=found, advice=advice)
    for field, what in (("aof_last_write_status", "written"), ("aof_last_bgrewrite_status", "rewritten")):
        if info.get(field, "ok") != "ok":
            found = f"the append-only file could not be {what}: Redis refuses writes, or soon will"
            advice = "Check Redis' log and the free space of its disk."
            return Finding(check=PERSISTENCE, state=State.FAILURE, found=found, advice=advice)
    return Finding(check=PERSISTENCE, state=State.OK, found="append-only file on")


def judge_eviction(info: dict[str, Any]) -> Finding:
    """Nothing is thrown away to make room: it would be jobs."""
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        return Finding(check=EVICTION, state=State.OK, found=policy)
    advice = "Set `maxmemory-policy noeviction` in redis.conf, and by CONFIG SET on the running server."
    found = f"{policy}: when memory is short, Redis may delete jobs"
    return Finding(check=EVICTION, state=State.FAILURE, found=found, advice=advice)


def judge_memory(info: dict[str, Any]) -> Finding:
    """Used memory against `maxmemory`, in bytes; submissions are refused at 85 %."""
    used, most = int(info["used_memory"]), int(info.get("maxmemory", 0))
    if not most:
        return _judge_unlimited(used, int(info.get("total_system_memory", 0)))
    found = f"{_mib(used)} of {_mib(most)} MiB used ({used / most:.0%})"
    advice = (
        "Raise `maxmemory`, or drop ended jobs: `./imagemill jobs kept` shows which callers use most. "
        "IMAGEMILL_RETENTION_S sets how long they are kept."
    )
    if used > FULL_SHARE * most:
        found += f": submissions are refused above {FULL_SHARE:.0%}"
        return Finding(check=MEMORY, state=State.FAILURE, found=found, advice=advice)
    if used > _FILLING_SHARE * most:
        found += f"; submissions are refused above {FULL_SHARE:.0%}"
        return Finding(check=MEMORY, state=State.WARNING, found=found, advice=advice)
    return Finding(check=MEMORY, state=State.OK, found=found)


def judge_clock(ahead_s: float, uncertainty_s: float) -> Finding:
    """
    Redis' clock decides leases and deadlines; times on this machine are shown beside it.

    Args:
        ahead_s: How far Redis' clock is ahead of this machine's, in seconds; negative where it is behind.
        uncertainty_s: How much of that may be the way to Redis and back.
    """
    apart_s = max(0.0, abs(ahead_s) - uncertainty_s)
    if apart_s < _CLOSE_CLOCKS_S:
        return Finding(check=CLOCK, state=State.OK, found=f"within {max(0.1, apart_s):.1f} s of this machine's")
    found = f"{apart_s:.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine's"
    advice = "Let both machines set their clocks by NTP (chrony, systemd-timesyncd)."
    state = State.WARNING if apart_s < _FAR_CLOCKS_S else State.FAILURE
    return Finding(check=CLOCK, state=state, found=found, advice=advice)


def _judge_unlimited(used: int, machine: int) -> Finding:
    found = f"{_mib(used)} MiB used, without a limit"
    advice = "Set `maxmemory`: submissions are then refused before the machine runs out of memory."
    crowded = machine and used > _CROWDED_SHARE * machine
    found += f", of the machine's {_mib(machine)} MiB" if crowded else ""
    return Finding(check=MEMORY, state=State.WARNING if crowded else State.INFORMATION, found=found, advice=advice)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number or 'no'} {what}s"
