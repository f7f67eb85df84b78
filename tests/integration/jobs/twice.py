"""
Connections that send what they are given twice, and keep the second answer.

This is what redis-py does when a connection breaks between a command and its reply; a pipeline it sends again as a
whole.
"""

from __future__ import annotations

from typing import Any

import redis
from redis.client import Pipeline


class _TwicePipeline(Pipeline):
    def execute(self, raise_on_error: bool = True) -> list[Any]:
        commands = list(self.command_stack)
        super().execute(raise_on_error=False)
        self.command_stack = commands
        return super().execute(raise_on_error)


class RepeatingRedis(redis.Redis):
    """Sends every command twice, as if the first reply had been lost; gives the second."""

    is_repeating = True

    def execute_command(self, *args: Any, **options: Any) -> Any:
        if self.is_repeating:
            super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        kind = _TwicePipeline if self.is_repeating else Pipeline
        return kind(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class SometimesTwice(RepeatingRedis):
    """Sends scripts twice, and while `is_repeating` alone."""

    is_repeating = False

    def execute_command(self, *args: Any, **options: Any) -> Any:
        if args[0] == "EVALSHA":
            return super().execute_command(*args, **options)
        return redis.Redis.execute_command(self, *args, **options)  # type: ignore[no-untyped-call]
