"""Jobs that take more of the workers than others': large files, files that nobody wants any more, turns."""

from __future__ import annotations

import asyncio
from typing import Any

from ops.bench.api.attacks.attack import JSON, JSON_LINES, Attack, Note, ask, lines, post, submit
from ops.bench.api.http_load import Target, connected

_SIDE_PX, _FILES = 4_096, 4  # The most that a job may have.
_MANY = 400
_SOON_S = 1.0
_AT_ONCE = 4
_SLOTS = 16
_WAITING_S = 0.2

EVERY_SLOT = "long jobs in every slot"

LARGE: dict[str, Any] = {
    "n": _FILES,
    "num_inference_steps": 1,
    "output": {"format": "webp", "resize": {"width": _SIDE_PX, "height": _SIDE_PX}},
}


async def largest_files(target: Target, _: int, note: Note) -> None:
    """Of the most pixels that are taken, one after the other."""
    if job_id := await submit(target, note, **LARGE):
        await _until(target, job_id, b'"ended_at":null', is_there=False)


async def every_slot(target: Target, _: int, note: Note) -> None:
    """Jobs that run for long, more than a worker takes at a time."""
    if job_id := await submit(target, note, num_inference_steps=1_000):
        await _until(target, job_id, b'"ended_at":null', is_there=False)


async def too_large_files(target: Target, number: int, note: Note) -> None:
    """More than that, of each image and of all together."""
    side = (2 * _SIDE_PX, _SIDE_PX)[number % 2]
    await submit(target, note, **LARGE | {"n": 16, "output": {"resize": {"width": side, "height": side}}})
    await asyncio.sleep(_WAITING_S)


async def files_of_canceled_jobs(target: Target, _: int, note: Note) -> None:
    """Canceled while their files are made."""
    if job_id := await submit(target, note, **LARGE):
        await _until(target, job_id, b'"stage":"postprocess"', is_there=True)
        note((await ask(target, "DELETE", f"/v1/jobs/{job_id}"))[0])


async def files_of_expired_jobs(target: Target, _: int, note: Note) -> None:
    """Whose deadline passes while their files are made."""
    await submit(target, note, **LARGE, deadline=_SOON_S)
    await asyncio.sleep(_SOON_S)


async def _until(target: Target, job_id: str, said: bytes, *, is_there: bool) -> None:
    """Until the job's record says this, or does so no more; or it has ended."""
    while True:
        _, body = await ask(target, "GET", f"/v1/jobs/{job_id}")
        if (said in body) == is_there or b'"ended_at":null' not in body:
            return
        await asyncio.sleep(_WAITING_S)


async def backlog_of_high(target: Target, note: Note) -> None:
    """Many, all of them urgent."""
    status, _ = await post(target, "/v1/jobs/batch", lines(_MANY, priority="high", num_inference_steps=5), JSON_LINES)
    note(status)


async def high_priority(target: Target, _: int, note: Note) -> None:
    """And more of them."""
    await submit(target, note, priority="high", num_inference_steps=5)


async def to_the_front(target: Target, _: int, note: Note) -> None:
    """One that waits is put before all others, again and again."""
    job_id = await submit(target, note, priority="low", num_inference_steps=5)
    body = b'{"priority": "high", "position": "front"}'
    if job_id:
        async with connected(target) as connection:
            head = target.head("PATCH", f"/v1/jobs/{job_id}", JSON, f"Content-Length: {len(body)}")
            await connection.send(head + body)
            note(await connection.status())


WORK = {
    "the largest files": Attack(attacker=largest_files, at_once=_AT_ONCE),
    "files that are too large": Attack(attacker=too_large_files, at_once=_AT_ONCE),
    "files of canceled jobs": Attack(attacker=files_of_canceled_jobs, at_once=_AT_ONCE),
    "files of expired jobs": Attack(attacker=files_of_expired_jobs, at_once=_AT_ONCE),
    "jobs of high priority": Attack(attacker=high_priority, at_once=_AT_ONCE, before=backlog_of_high),
    EVERY_SLOT: Attack(attacker=every_slot, at_once=_SLOTS),
    "jobs put to the front": Attack(attacker=to_the_front, at_once=_AT_ONCE, before=backlog_of_high),
}
