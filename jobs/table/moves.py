"""Changes the place of a waiting job among its caller's own."""

from __future__ import annotations

import json
import secrets

from jobs.envelope import DEFAULT_PRIORITY, Priority
from jobs.errors import JobNotFound, JobNotQueued
from jobs.scripts.scripts import Scripts, as_mapping
from jobs.table.reader import JobReader
from jobs.table.record import JobRecord
from jobs.table.states import Status


def move(reader: JobReader, scripts: Scripts, job_id: str, priority: Priority | None, to_front: bool) -> JobRecord:
    """
    See `JobTable.reprioritize`.

    The specification is written anew, so that every reader of the record, of any version, sees the new priority.
    Nothing else of it ever changes.
    """
    record = reader.get(job_id)
    if record.status != Status.QUEUED or record.payload is None:
        raise JobNotQueued(job_id, record.status)
    chosen = priority or record.payload.get("priority", DEFAULT_PRIORITY)
    rest = {name: value for name, value in record.payload.items() if name != "priority"}
    spec = rest if chosen == DEFAULT_PRIORITY else {**rest, "priority": chosen}  # A default is not written.
    status, *found = scripts.run(
        "reprioritize",
        job_id=job_id,
        nonce=secrets.token_hex(8),
        spec=json.dumps(spec),
        priority=chosen,
        is_front=to_front,
    )
    if status == "missing":
        raise JobNotFound(job_id)
    if status != "moved":
        raise JobNotQueued(job_id, status)
    return JobRecord.from_hash(job_id, as_mapping(found[0]))
