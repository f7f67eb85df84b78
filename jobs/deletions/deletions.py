"""
Deletes results: what ended jobs were asked for, what they made, and why they failed.

One script takes all of that out of the job's record, and notes that objects are to be looked for, which
`jobs.deletions.deleter` does. Status, times and ids stay, as does the SHA-256 of the request, by which an idempotency
key knows its job again.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from jobs import names
from jobs.errors import InvalidRequest, JobNotEnded, JobNotFound
from jobs.kinds.inputs import by_path
from jobs.kinds.registry import KINDS
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.scripts.scripts import Scripts, arguments, as_mapping
from jobs.table.reader import CURSOR, JobReader
from jobs.table.record import JobRecord
from jobs.table.states import Status

WATCH_S = 24 * 3600  # for which deleted jobs are looked for, ever more seldom

_LOOK_AT = 100  # entries of a list in one script, and jobs that are deleted in one round trip
_MOST_LOOKS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """
    What one call did.

    Attributes:
        job_ids: Of jobs whose results it had deleted.
        cursor: Where the next call goes on; None where there is nothing left to look at.
    """

    job_ids: tuple[str, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """
    A deleted job that is due to be looked for, by this process.

    Attributes:
        held_until: As Redis wrote it down; names this look.
        created_at: Of the job, Unix time, seconds: its objects' keys begin with the day.
        keys: Of the objects that were published.
        queue: Whose name its messages may stand under.
        inputs: Ids of uploaded files that it was to read.
    """

    job_id: str
    held_until: str
    created_at: float
    queue: str
    keys: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()


class Deletions:
    """The work list, and what puts jobs there. All of it may raise `RedisUnavailable`."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._redis = client
        self._settings = settings
        self._reader = JobReader(client, settings)
        self._scripts = Scripts(client, settings)

    def delete(self, job_id: str, *, scope: str | None = None) -> JobRecord:
        """
        Delete the result of a job that has ended. Its objects go in a moment, or when the store is back.

        Repeating it changes nothing.

        Args:
            scope: The caller whose jobs alone are there; None for everybody's.

        Returns:
            Its record then.

        Raises:
            JobNotFound: There is no such job.
            JobNotEnded: It goes on.
        """
        return self._delete([job_id], scope)[0]

    def delete_ended(
        self,
        caller: str | None = None,
        statuses: Sequence[Status] = (),
        ended_before: float | None = None,
        cursor: str | None = None,
    ) -> Deleted:
        """
        Delete the results of jobs that have ended, those first that were submitted first.

        A call looks at 5,000 jobs at most.

        Args:
            caller: Whose; None for everybody's.
            statuses: Only jobs that ended so; all, where there are none.
            ended_before: Unix time, seconds; None for no bound.
            cursor: Where the call before ended; None for the first.

        Raises:
            InvalidRequest: `cursor` is none that came from here.
        """
        if cursor is not None and not re.fullmatch(CURSOR, cursor):
            raise InvalidRequest("cursor", "is not one that a call to delete results returned")
        wanted = {"caller": caller, "statuses": statuses or None, "ended_before": ended_before}
        done: list[str] = []
        behind = cursor or "-inf"
        for _ in range(_MOST_LOOKS):
            ids, behind = self._scripts.run("deletable", behind=behind, most=_LOOK_AT, **wanted)
            done += [each.id for each in self._delete(ids, None, skips=True)]
            if not behind:
                break
        return Deleted(job_ids=tuple(done), cursor=behind or None)

    def take(self, most: int, hold_s: float) -> list[Leftover]:
        """Deleted jobs that are due, for this process as long as it holds them."""
        with map_errors(self._settings):
            if not self._redis.zcard(names.DELETIONS):  # Most looks: they are many, and cost a script.
                return []
        token = secrets.token_hex(8)
        found = self._scripts.run("take_deletions", token=token, most=most, hold_s=hold_s)
        return [_leftover(job_id, held_until, json.loads(note)) for job_id, held_until, note in found]

    def settle(self, leftover: Leftover, found: int) -> bool:
        """
        Note a look, and how many objects it `found` and deleted. Returns whether the result is gone.

        Where somebody has asked for another look since this one began, that is due.
        """
        answer = self._scripts.run(
            "settle_deletion",
            job_id=leftover.job_id,
            held_until=leftover.held_until,
            found=found,
            lease_s=self._settings.lease_s,
            watch_s=WATCH_S,
        )
        return bool(answer)

    def put_off(self, leftover: Leftover, after_s: float) -> None:
        """Look for it again after a while: something that is needed for it is away."""
        self._scripts.run("put_off_deletion", job_id=leftover.job_id, held_until=leftover.held_until, after_s=after_s)

    def _delete(self, job_ids: Sequence[str], scope: str | None, *, skips: bool = False) -> list[JobRecord]:
        """`skips` those that are not there any more, or were replayed meanwhile."""
        if not job_ids:
            return []
        inputs = self._inputs_of(job_ids)
        calls = [("delete", arguments(job_id=each, scope=scope, inputs=inputs.get(each))) for each in job_ids]
        done: list[JobRecord] = []
        for job_id, (outcome, answer) in zip(job_ids, self._scripts.run_many(calls), strict=True):
            if outcome == "deleted":
                done.append(JobRecord.from_hash(job_id, as_mapping(answer)))
            elif not skips:
                raise JobNotFound(job_id) if outcome == "missing" else JobNotEnded(job_id, answer)
        return done

    def _inputs_of(self, job_ids: Sequence[str]) -> dict[str, str]:
        """By job, as JSON; of those alone that have some. A request never changes, so this may be read before."""
        found = {record.id: inputs_of(record) for record in self._reader.get_many(job_ids)}
        return {job_id: json.dumps(inputs) for job_id, inputs in found.items() if inputs}


def inputs_of(record: JobRecord) -> tuple[str, ...]:
    """Ids of the uploaded files that a job was to read, of a kind that this version knows."""
    kind, stored = KINDS.get(record.kind), record.payload or {}
    named = by_path({field: stored.get(field) for field in kind.input_fields}) if kind is not None else {}
    return tuple(dict.fromkeys(each["file"] for each in named.values() if isinstance(each, dict) and "file" in each))


def _leftover(job_id: str, held_until: str, note: Mapping[str, Any]) -> Leftover:
    return Leftover(
        job_id=job_id,
        held_until=held_until,
        created_at=float(note["created_at"]),
        queue=str(note["queue"]),
        keys=tuple(json.loads(note["keys"])),
        inputs=tuple(json.loads(note["inputs"])),
    )
