"""The handle of a job, for threads: ask for it, wait for it, follow it, end it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal

from jobs.envelope import Change, Priority
from jobs.errors import RedisUnavailable, WaitTimeout
from jobs.fields import parse
from jobs.table.events import Event, check_event_id, follow
from jobs.view import JobView, view_of
from producer.client.image import Artifact, Image, artifacts_of, images_of
from producer.client.parts import Parts

_AGAIN_S = 0.5  # between looks at a Redis that is away


class Job:
    """A submitted job. Every method asks Redis anew."""

    __slots__ = ("_parts", "id")

    def __init__(self, job_id: str, parts: Parts) -> None:
        self.id = job_id
        self._parts = parts

    def status(self) -> JobView:
        """Its current state. Raises `JobNotFound`."""
        return view_of(self._parts.table.look(self.id))

    def wait(self, timeout_s: float | None = None) -> JobView:
        """
        Wait for the end, however it ends. A Redis that goes away meanwhile is waited for.

        Raises:
            JobNotFound: There is no such job.
            RedisUnavailable: It does not answer when the waiting begins.
            WaitTimeout: It did not end in time; it goes on.
        """
        started = time.monotonic()
        record = self._record()
        while not record.has_ended:
            left_s = None if timeout_s is None else timeout_s - (time.monotonic() - started)
            if left_s is not None and left_s <= 0:
                raise WaitTimeout(self.id, timeout_s or 0)
            try:
                for _ in follow(self._parts.redis, self._parts.settings, self.id, timeout_s=left_s):
                    pass
                record = self._record()
            except RedisUnavailable:
                time.sleep(_AGAIN_S if left_s is None else min(_AGAIN_S, left_s))
        return record

    def events(self, after: str = "0") -> Iterator[Event]:
        """
        Its events behind `after`, as they come, up to "completed".

        Raises:
            JobNotFound: There is no such job.
            InvalidRequest: `after` is no event id.
        """
        check_event_id(after, "after")
        self.status()
        table = self._parts.table
        return follow(
            self._parts.redis, self._parts.settings, self.id, after=after, watch=lambda: table.watch([self.id])
        )

    def cancel(self, *, caller: str | None = None) -> JobView:
        """
        Cancel it; one that has ended does not change. Returns its state then.

        Args:
            caller: Where it is to be this caller's: another's is as if it were not there.

        Raises:
            JobNotFound: There is no such job. Should a plain Celery message with its id come within a day, it becomes a
                canceled one.
            RedisUnavailable: It is not known whether it was asked for; asking again is safe.
        """
        record, released = self._parts.table.cancel_and_show(self.id, scope=caller)
        self._parts.dispatcher.offer(released)
        return view_of(record)

    def delete_result(self, *, caller: str | None = None) -> JobView:
        """
        Delete what it made and what it was asked for. Its status, ids and times stay. Returns its state then.

        Its objects go in a moment, by a worker or an API process; repeating it changes nothing.

        Args:
            caller: Where it is to be this caller's: another's is as if it were not there.

        Raises:
            JobNotFound: There is no such job.
            JobNotEnded: It goes on: cancel it first.
        """
        return view_of(self._parts.deletions.delete(self.id, scope=caller))

    def reprioritize(self, priority: Priority | None = None, position: Literal["front"] | None = None) -> JobView:
        """
        Change its position among its caller's jobs while it is queued. Returns its state then.

        Args:
            priority: Its new one; None leaves it as it is.
            position: "front": before all of its caller's that wait with the same priority.

        Raises:
            InvalidRequest: Neither is given, or one is none of these.
            JobNotFound: There is no such job.
            JobNotQueued: It has begun, or ended.
        """
        change = parse(Change, {"priority": priority, "position": position})
        to_front = change.position == "front"
        return view_of(self._parts.table.reprioritize(self.id, priority=change.priority, to_front=to_front))

    def images(self, timeout_s: float | None = None) -> list[Image]:
        """
        Wait for the job's end and return its images.

        Raises:
            JobFailed: It ended without images.
            ResultDeleted: Somebody has deleted them.
            WaitTimeout: It did not end in time.
        """
        return images_of(self.wait(timeout_s), self._parts.store)

    def artifacts(self, timeout_s: float | None = None) -> list[Artifact]:
        """Wait for the job's end and return what else it made. Raises as `images` does."""
        return artifacts_of(self.wait(timeout_s), self._parts.store)

    def _record(self) -> JobView:
        """As `status`, of a job that is waited for alone: nobody reads how far it is."""
        return view_of(self._parts.table.get(self.id))

    def __repr__(self) -> str:
        return f"Job({self.id!r})"
