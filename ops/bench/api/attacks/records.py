"""What stays of jobs: records that are kept, deadlines that pass, batches."""

from __future__ import annotations

import json
from typing import Any

from ops.bench.api.attacks.attack import JSON_LINES, Attack, Note, ask, lines, post, request, submit
from ops.bench.api.http_load import Target

_SHARE = 0.35  # of Redis in use before
_FILL, _FILLS = 50, 10  # of the largest jobs, which take 70 KB each
_AT_ONCE_S = 0.02
_WIDE = "\N{LARGE RED CIRCLE}"  # four bytes, one character
_BATCH = 2_000
_BACKLOG, _UPLOADS = 2_500, 2
_SOON_S, _FORGOTTEN_S = 2.0, 60.0
IDLE = "idle"  # a model that no worker serves
_LONG_NAME = 60_000

# All that a job may carry.
LARGEST: dict[str, Any] = {
    "prompt": _WIDE * 4_000,
    "negative_prompt": _WIDE * 4_000,
    "guidance_scale": 2.0,  # Without guidance a negative prompt is refused.
    "metadata": {f"{number:02}": _WIDE * 512 for number in range(16)},
}


async def many_canceled(target: Target, note: Note) -> None:
    """Until nothing is taken any more, or there are as many as would fill Redis."""
    for _ in range(_FILLS):
        status, answers = await post(target, "/v1/jobs/batch", lines(_FILL, **LARGEST, start_after=3_600.0), JSON_LINES)
        note(status)
        taken = [json.loads(line)["id"] for line in answers.splitlines()] if status == "200" else [None]
        if taken[0]:
            await _cancel_batch_of(target, taken[0], note)
        if not all(taken):
            return


async def submitted_and_canceled(target: Target, _: int, note: Note) -> None:
    """Again and again, as large as a job may be: none waits, each is kept."""
    if job_id := await submit(target, note, **LARGEST, start_after=3_600.0):
        note((await ask(target, "DELETE", f"/v1/jobs/{job_id}"))[0])


async def many_expired(target: Target, note: Note) -> None:
    """The same of jobs whose deadline passes at once."""
    for _ in range(_FILLS):
        late = lines(_FILL, **LARGEST, start_after=_AT_ONCE_S / 2, deadline=_AT_ONCE_S)
        status, answers = await post(target, "/v1/jobs/batch", late, JSON_LINES)
        note(status)
        if status != "200" or b'"id":null' in answers:
            return


async def submitted_and_expired(target: Target, _: int, note: Note) -> None:
    """And more of them."""
    await submit(target, note, **LARGEST, start_after=_AT_ONCE_S / 2, deadline=_AT_ONCE_S)


async def backlog_of_deadlines(target: Target, note: Note) -> None:
    """Many jobs that nobody runs, whose deadlines pass at the same time."""
    for _ in range(_UPLOADS):
        late = lines(_BACKLOG, model=IDLE, deadline=_SOON_S)
        note((await post(target, "/v1/jobs/batch", late, JSON_LINES))[0])


async def deadlines(target: Target, _: int, note: Note) -> None:
    """And more of them."""
    late = lines(_BATCH // 10, model=IDLE, deadline=_SOON_S / 10)
    note((await post(target, "/v1/jobs/batch", late, JSON_LINES))[0])


async def backlog_of_later(target: Target, note: Note) -> None:
    """Many jobs that may all begin at the same time."""
    for _ in range(_UPLOADS):
        due = lines(_BACKLOG, model=IDLE, start_after=_SOON_S, deadline=_FORGOTTEN_S)
        note((await post(target, "/v1/jobs/batch", due, JSON_LINES))[0])


async def later(target: Target, _: int, note: Note) -> None:
    """And more of them."""
    due = lines(_BATCH // 10, model=IDLE, start_after=_SOON_S / 10, deadline=_FORGOTTEN_S)
    note((await post(target, "/v1/jobs/batch", due, JSON_LINES))[0])


async def batch(target: Target, number: int, note: Note) -> None:
    """One of thousands of jobs."""
    note(
        (
            await post(
                target, "/v1/jobs/batch", lines(_BATCH, model=IDLE, deadline=_FORGOTTEN_S, seed=number), JSON_LINES
            )
        )[0]
    )


async def refused_lines(target: Target, _: int, note: Note) -> None:
    """Each with a name of its own that comes back in the answer, and a field that is wrong."""
    refused = [request(custom_id=str(number), **{"x" * _LONG_NAME: 1}) for number in range(100)]
    note((await post(target, "/v1/jobs/batch", b"\n".join(refused), JSON_LINES))[0])


async def canceled_batch(target: Target, _: int, note: Note) -> None:
    """Submitted and canceled as a whole."""
    status, answers = await post(target, "/v1/jobs/batch", lines(_BATCH, start_after=3_600.0), JSON_LINES)
    note(status)
    if status == "200" and (first := json.loads(answers.splitlines()[0])["id"]):
        await _cancel_batch_of(target, first, note)


async def _cancel_batch_of(target: Target, job_id: str, note: Note) -> None:
    _, job = await ask(target, "GET", f"/v1/jobs/{job_id}")
    note((await ask(target, "DELETE", f"/v1/jobs/batches/{json.loads(job)['batch']}"))[0])


RECORDS = {
    "records of canceled jobs": Attack(
        attacker=submitted_and_canceled, at_once=8, before=many_canceled, redis_share=_SHARE
    ),
    "records of expired jobs": Attack(
        attacker=submitted_and_expired, at_once=8, before=many_expired, redis_share=_SHARE
    ),
    "deadlines that pass": Attack(attacker=deadlines, at_once=1, before=backlog_of_deadlines),
    "jobs that may all begin at once": Attack(attacker=later, at_once=1, before=backlog_of_later),
    "20 batches at once": Attack(attacker=batch, at_once=20),
    "batches of refused lines": Attack(attacker=refused_lines, at_once=4),
    "batches that are canceled": Attack(attacker=canceled_batch, at_once=4),
}
