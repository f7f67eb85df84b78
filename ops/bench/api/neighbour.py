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
READS_PER_S = 50

_READERS = 4
_STEPS = 4
_PATIENCE_S = 200.0
_JSON = "Content-Type: application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """
    What it saw.

    Attributes:
        took_s: Of each request; it counts from when the request was due.
        jobs_s: Of each job, from when it was due to its last event.
        lost: What should not have been, a sentence each.
    """

    took_s: list[float] = field(default_factory=list)
    jobs_s: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def request_ms(self) -> float:
        """Within which 95 of 100 requests were answered."""
        return percentile_ms(self.took_s, 95)

    @property
    def job_ms(self) -> float:
        """Within which 95 of 100 jobs were done."""
        return percentile_ms(self.jobs_s, 95)

    def with_(self, other: Seen) -> Seen:
        """Both as one."""
        return Seen(
            took_s=[*self.took_s, *other.took_s],
            jobs_s=[*self.jobs_s, *other.jobs_s],
            lost=[*self.lost, *other.lost],
        )


class Neighbour:
    """
    One key's work.

    Args:
        target: Its job is one of this key's that is asked for again and again.
    """

    def __init__(self, target: Target) -> None:
        self._target = target

    async def work(self, seconds: float) -> Seen:
        """For a while, at its own pace, whether what came before is done or not; returns when all of it has ended."""
        seen = Seen()
        async with AsyncExitStack() as stack:
            readers = [await stack.enter_async_context(connected(self._target)) for _ in range(_READERS)]
            started = time.perf_counter()
            jobs = (self._job(seen, started + number / JOBS_PER_S) for number in range(int(JOBS_PER_S * seconds)))
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
        await asyncio.sleep(due - time.perf_counter())
        try:
            async with asyncio.timeout(_PATIENCE_S), connected(self._target) as connection:
                job_id = await self._submit(seen, connection, due)
                if job_id is None:
                    return
                await self._follow(seen, job_id)
                seen.jobs_s.append(time.perf_counter() - due)
                request = self._target.head("GET", f"/v1/jobs/{job_id}")
                record = json.loads(await _exchange(seen, connection, request, time.perf_counter(), "200"))
                await self._fetch(seen, record)
        except (OSError, EOFError) as exc:  # A timeout, too.
            seen.lost.append(f"a job's connection: {type(exc).__name__}")

    async def _submit(self, seen: Seen, connection: Connection, due: float) -> str | None:
        body = json.dumps({"prompt": "a blue square on a white background", "num_inference_steps": _STEPS}).encode()
        head = self._target.head("POST", "/v1/jobs", _JSON, f"Content-Length: {len(body)}")
        return json.loads(await _exchange(seen, connection, head + body, due, "202")).get("id")

    async def _follow(self, seen: Seen, job_id: str) -> None:
        begun, heard = time.perf_counter(), b""
        async with connected(self._target) as connection:
            await connection.send(self._target.head("GET", f"/v1/jobs/{job_id}/events"))
            while chunk := await connection.read():
                if not heard:
                    seen.took_s.append(time.perf_counter() - begun)
                heard += chunk
                if b"event: completed" in heard and heard.endswith(b"0\r\n\r\n"):
                    return
        seen.lost.append(f"the event stream of {job_id} was cut")

    async def _fetch(self, seen: Seen, record: dict[str, Any]) -> None:
        if record.get("status") != "succeeded":
            seen.lost.append(f"job {record.get('id')} is {record.get('status')}: {record.get('error')}")
        for image in record.get("images", ()):
            link = urlsplit(image["url"])
            store = Target(host=link.hostname or "", port=link.port or 80)
            async with connected(store) as connection:
                await connection.send(store.head("GET", f"{link.path}?{link.query}"))
                status, content = await connection.answer()
            if status != "200" or len(content) != image["bytes"]:
                seen.lost.append(f"an image was answered {status}, {len(content)} of {image['bytes']} bytes")


async def _exchange(seen: Seen, connection: Connection, request: bytes, due: float, wanted: str) -> bytes:
    await connection.send(request)
    status, body = await connection.answer()
    seen.took_s.append(time.perf_counter() - due)
    if status != wanted:
        seen.lost.append(f"{request.split(b' ', 2)[:2]} was answered {status}: {body[:200]!r}")
    return body
