"""What is asked of Redis: its own counters, which hold the commands that scripts run inside it, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisCalls:
    """
    Redis' work.

    Attributes:
        by_command: Calls of each command, by clients and by scripts.
        reads: How often it read from a connection: a pipeline that comes at once is one.
        busy_s: Time that it spent in commands; a script's holds that of its own.
    """

    by_command: dict[str, float]
    reads: float
    busy_s: float

    @classmethod
    def so_far(cls, client: redis.Redis) -> RedisCalls:
        """Since the server started, `INFO` itself included."""
        stats: dict[str, dict[str, Any]] = client.info("commandstats")
        by_command = {name.removeprefix("cmdstat_"): float(each["calls"]) for name, each in stats.items()}
        reads: dict[str, Any] = client.info("stats")
        # Time in a script is its own and that of its commands, which are counted as well.
        from_outside = ("evalsha", "eval", "fcall")
        busy_us = sum(float(stats[f"cmdstat_{name}"]["usec"]) for name in from_outside if f"cmdstat_{name}" in stats)
        return cls(by_command=by_command, reads=float(reads["total_reads_processed"]), busy_s=busy_us / 1e6)

    def since(self, before: RedisCalls, jobs: int) -> RedisCalls:
        """What came in between, for each of so many jobs; most first."""
        each = {name: (calls - before.by_command.get(name, 0.0)) / jobs for name, calls in self.by_command.items()}
        by_command = {name: calls for name, calls in sorted(each.items(), key=lambda item: -item[1]) if calls > 0}
        return RedisCalls(
            by_command=by_command,
            reads=(self.reads - before.reads) / jobs,
            busy_s=(self.busy_s - before.busy_s) / jobs,
        )

    @property
    def total(self) -> float:
        """All commands."""
        return sum(self.by_command.values())
