"""What stays of jobs: records that are kept, deadlines that pass, batches."""

from __future__ import annotations

import json
from typing import Any

from ops.bench.api.attacks.attack import JSON_LINES, Attack, Note, ask, lines, post, request, submit
from ops.bench.api.http_load import Target

_ROOM_MIB = 24  # for what is kept of some hundred of the largest jobs
_WIDE = "\N{LARGE RED CIRCLE}"  # four bytes, one character
_BATCH = 2_000
_BACKLOG, _UPLOADS = 5_000, 4
_SOON_S = 2.0
_LONG_NAME = 60_000

# All that a job may carry.
LARGEST: dict[str, Any] = {
    "prompt": _WIDE * 4_000,
    "negative_prompt": _WIDE * 4_000,
    "metadata": {f"{number:02}": _WIDE * 512 for number in range(16)},
}


async def submitted_and_canceled(target: Target, _: int, note: Note) -> None:
    """Again and again, as large as a job may be: none waits, each is kept."""
    if job_id := await submit(target, note, **LARGEST, start_after=3_600.0):
        note((await ask(target, "DELETE", f"/v1/jobs/{job_id}"))[0])


async def batches_of_canceled(target: Target, _: int, note: Note) -> None:
    """The same by batches, which are canceled as a whole."""
    status, body = await post(target, "/v1/jobs/batch", lines(20, **LARGEST, start_after=3_600.0), JSON_LINES)
    note(status)
    if status == "200":
        for job_id in (json.loads(line)["id"] for line in body.splitlines()):
            if job_id:
                note((await ask(target, "DELETE", f"/v1/jobs/{job_id}"))[0])


async def backlog_of_deadlines(target: Target, note: Note) -> None:
    """Many jobs that nobody runs, whose deadlines pass at the same time."""
    for _ in range(_UPLOADS):
        late = lines(_BACKLOG, start_after=_SOON_S / 2, deadline=_SOON_S, num_inference_steps=50)
        note((await post(target, "/v1/jobs/batch", late, JSON_LINES))[0])


async def deadlines(target: Target, _: int, note: Note) -> None:
    """And more of them."""
    late = lines(_BATCH // 10, deadline=_SOON_S / 10, num_inference_steps=50)
    note((await post(target, "/v1/jobs/batch", late, JSON_LINES))[0])


async def backlog_of_later(target: Target, note: Note) -> None:
    """Many jobs that may all begin at the same time."""
    for _ in range(_UPLOADS):
        due = lines(_BACKLOG, start_after=_SOON_S, num_inference_steps=50)
        note((await post(target, "/v1/jobs/batch", due, JSON_LINES))[0])


async def later(target: Target, _: int, note: Note) -> None:
    """And more of them."""
    due = lines(_BATCH // 10, start_after=_SOON_S / 10, num_inference_steps=50)
    note((await post(target, "/v1/jobs/batch", due, JSON_LINES))[0])


async def batch(target: Target, number: int, note: Note) -> None:
    """One of thousands of jobs."""
    note((await post(target, "/v1/jobs/batch", lines(_BATCH, seed=number), JSON_LINES))[0])


async def refused_lines(target: Target, _: int, note: Note) -> None:
    """Each with a name of its own that comes back in the answer, and a field that is wrong."""
    refused = [request(custom_id=str(number), **{"x" * _LONG_NAME: 1}) for number in range(100)]
    note((await post(target, "/v1/jobs/batch", b"\n".join(refused), JSON_LINES))[0])


async def canceled_batch(target: Target, _: int, note: Note) -> None:
    """Submitted and canceled as a whole."""
    status, answers = await post(target, "/v1/jobs/batch", lines(_BATCH, start_after=3_600.0), JSON_LINES)
    note(status)
    if status == "200" and (first := json.loads(answers.splitlines()[0])["id"]):
        _, job = await ask(target, "GET", f"/v1/jobs/{first}")
        note((await ask(target, "DELETE", f"/v1/batches/{json.loads(job)['batch']}"))[0])


RECORDS = {
    "jobs that are canceled": Attack(
        attacker=submitted_and_canceled, at_once=8, key={"max_queued": 8}, redis_mib=_ROOM_MIB
    ),
    "batches that are canceled job by job": Attack(
        attacker=batches_of_canceled, at_once=4, key={"max_queued": 200}, redis_mib=_ROOM_MIB
    ),
    "deadlines that pass": Attack(attacker=deadlines, at_once=1, before=backlog_of_deadlines),
    "jobs that may all begin at once": Attack(attacker=later, at_once=1, before=backlog_of_later),
    "20 batches at once": Attack(attacker=batch, at_once=20),
    "batches of refused lines": Attack(attacker=refused_lines, at_once=4),
    "batches that are canceled": Attack(attacker=canceled_batch, at_once=4),
}
