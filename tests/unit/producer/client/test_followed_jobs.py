"""Who follows jobs is known for as long as they do, whatever goes wrong once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from producer.client.followed_jobs import FollowedJobs

DEADLINE_S = 60.0


def test_jobs_stay_watched_after_an_error_that_nobody_foresaw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producer.client.followed_jobs.FOLLOW_EVERY_S", 0.01)
    calls: list[Sequence[str]] = []

    async def follow() -> None:
        again = asyncio.Event()

        async def watch(jobs: Sequence[str]) -> None:
            calls.append(jobs)
            if len(calls) == 2:
                raise RuntimeError("nobody foresaw this")
            if len(calls) == 3:
                again.set()

        followed_jobs = FollowedJobs(watch)
        try:
            async with followed_jobs.following("a"), asyncio.timeout(DEADLINE_S):
                await again.wait()
        finally:
            await followed_jobs.aclose()

    asyncio.run(follow())
    assert calls == [["a"]] * 3
