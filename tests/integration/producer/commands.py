"""Running commands in the process of a test, and reading what they print."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio
from typer.testing import Result

from jobs.process.settings import Settings

Run = Callable[..., Result]


def lines(result: Result) -> list[dict[str, Any]]:
    """What a command that succeeded printed as JSON lines."""
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[redis.asyncio.Redis]:
    """A connection of this event loop's own."""
    async with redis.asyncio.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        yield client
