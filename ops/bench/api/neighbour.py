"""A key that works quietly: it submits single jobs, follows them to their end, and fetches their images."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ops.bench.api.http_load import Connection, Target, connected, percentile_ms

JOBS_PER_S = 6
EXPIRING_PER_S = 2
READS_PER_S = 50

_READERS = 4
_STEPS = 4
_DEADLINE_S = 0.3
_PATIENCE_S = 200.0
_JSON = "Content-Type: application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """
    What it saw.

    Attributes:
        took_s: Of each request; it counts from when the request was due.
        jobs_s: Of each job, from when it was due to its last event.
        expired_s: The same of each that nobody runs, and whose deadline passes.
        lost: What should not have been, a sentence each.
    """

    took_s: list[float] = field(default_factory=list)
    jobs_s: list[float] = field(default_factory=list)
    expired_s: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def request_ms(self) -> float:
        """Within which 95 of 100 requests were answered."""
        return percentile_ms(self.took_s, 95)

    @property
    def job_ms(self) -> float:
        """Within which 95 of 100 jobs were done."""
        return percentile_ms(self.jobs_s, 95)

    @property
    def expired_ms(self) -> float:
        """Within which 95 of 100 of those whose deadline passed had ended."""
        return percentile_ms(self.expired_s, 95)

    def with_(self, other: Seen) -> Seen:
        """Both as one."""
        return Seen(
            took_s=[*self.took_s, *other.took_s],
            jobs_s=[*self.jobs_s, *other.jobs_s],
            expired_s=[*self.expired_s, *other.expired_s],
            lost=[*self.lost, *other.lost],
        )


class Neighbour:
    """
    One key's work.

    Args:
        target: Its job is one of this key's that is asked for again and again.
        idle: A model that no worker serves.
    """

    def __init__(self, target: Target, idle: str) -> None:
        self._target = target
        self._expiring = {"model": idle, "deadline": _DEADLINE_S}

    async def work(self, seconds: float) -> Seen:
        """For a while, at its own pace, whether what came before is done or not; returns when all of it has ended."""
        seen = Seen()
        async with AsyncExitStack() as stack:
            readers = [await stack.enter_async_context(connected(self._target)) for _ in range(_READERS)]
            started = time.perf_counter()
            jobs = [self._job(seen, due) for due in _dues(started, JOBS_PER_S, seconds)]
            jobs += [self._expire(seen, due) for due in _dues(started, EXPIRING_PER_S, seconds)]
            reads = (self._reads(seen, each, started, seconds, first) for first, each in enumerate(readers))
            await asyncio.gather(*jobs, *reads)
        return seen

    async def _reads(self, seen: Seen, connection: Connection, started: float, seconds: float, first: int) -> None:
        request = self._target.head("GET", f"/v1/jobs/{self._target.job_id}")
        try:
            for number in range(first, int(READS_PER_S * seconds), _READERS):
                due = started + number / READS_PER_S
                await asyncio.sleep(due - time.perf_counter())
                await _exchange(seen, connection, request, due, "200")
        except (OSError, EOFError) as exc:
            seen.lost.append(f"a reader's connection: {type(exc).__name__}")

    async def _job(self, seen: Seen, due: float) -> None:
        record = await self._ended(seen, due, {"num_inference_steps": _STEPS})
        if record:
            seen.jobs_s.append(record["took_s"])
            await self._fetch(seen, record)

    async def _expire(self, seen: Seen, due: float) -> None:
        record = await self._ended(seen, due, self._expiring)
        if record:
            seen.expired_s.append(record["took_s"])
            if record.get("status") != "expired":
                seen.lost.append(f"job {record.get('id')} is {record.get('status')}, and not expired")

    async def _ended(self, seen: Seen, due: float, fields: dict[str, Any]) -> dict[str, Any] | None:
        """The record of a job that was followed to its end, and how long that took; None if it was not."""
        await asyncio.sleep(due - time.perf_counter())
        try:
            async with asyncio.timeout(_PATIENCE_S):
                job_id = await self._submit(seen, due, fields)
                if job_id is None or not await self._follow(seen, job_id):
                    return None
                took_s = time.perf_counter() - due
                async with connected(self._target) as connection:  # The first one may have been idle for too long.
                    request = self._target.head("GET", f"/v1/jobs/{job_id}")
                    record = json.loads(await _exchange(seen, connection, request, time.perf_counter(), "200"))
                    return {**record, "took_s": took_s}
        except (OSError, EOFError) as exc:  # A timeout, too.
            seen.lost.append(f"a job's connection: {type(exc).__name__}")
            return None

    async def _submit(self, seen: Seen, due: float, fields: dict[str, Any]) -> str | None:
        body = json.dumps({"prompt": "a blue square on a white background", **fields}).encode()
        head = self._target.head("POST", "/v1/jobs", _JSON, f"Content-Length: {len(body)}")
        async with connected(self._target) as connection:
            answer: dict[str, Any] = json.loads(await _exchange(seen, connection, head + body, due, "202"))
        return answer.get("id")

    async def _follow(self, seen: Seen, job_id: str) -> bool:
        """Its events, to the last one; whether that came."""
        begun, received = time.perf_counter(), b""
        async with connected(self._target) as connection:
            await connection.send(self._target.head("GET", f"/v1/jobs/{job_id}/events"))
            while chunk := await connection.read():
                if not received:
                    seen.took_s.append(time.perf_counter() - begun)
                received += chunk
                if b"event: completed" in received and received.endswith(b"0\r\n\r\n"):
                    return True
        seen.lost.append(f"the event stream of {job_id} was cut")
        return False

    async def _fetch(self, seen: Seen, record: dict[str, Any]) -> None:
        if record.get("status") != "succeeded":
            seen.lost.append(f"job {record.get('id')} is {record.get('status')}: {record.get('error')}")
        for image in record.get("images", ()):
            link = urlsplit(image["url"])
            store = Target(host=link.hostname or "", port=link.port or 80)
            try:
                async with connected(store) as connection:
                    await connection.send(store.head("GET", f"{link.path}?{link.query}"))
                    status, content = await connection.answer()
            except (OSError, EOFError) as exc:
                status, content = type(exc).__name__, b""
            if status != "200" or len(content) != image["bytes"]:
                seen.lost.append(f"an image was answered {status}, {len(content)} of {image['bytes']} bytes")


def _dues(started: float, per_s: float, seconds: float) -> list[float]:
    return [started + number / per_s for number in range(int(per_s * seconds))]


async def _exchange(seen: Seen, connection: Connection, request: bytes, due: float, wanted: str) -> bytes:
    await connection.send(request)
    status, body = await connection.answer()
    seen.took_s.append(time.perf_counter() - due)
    if status != wanted:
        seen.lost.append(f"{request.split(b' ', 2)[:2]} was answered {status}: {body[:200]!r}")
    return body
