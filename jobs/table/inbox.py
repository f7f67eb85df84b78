"""
Messages that others put into our queues, on their way to becoming jobs.

A message is taken out of its list and kept under a tag by one script, and let go by the one that writes its job, so
that no moment is without it. A worker that dies in between leaves it to others, which take it alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis
import structlog

from jobs import names
from jobs.fleet.lists import PRIORITIES, list_of, queue_in_list
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.redis.memory import FULL_SHARE, LAST_SHARE
from jobs.scripts.scripts import Scripts, arguments
from jobs.table.submission import notification_args

log = structlog.get_logger()

HOLD_S = 30  # longer than making a bunch of jobs takes
# Of messages, while Redis has no room for what is submitted in other ways. They are there already, and do not end by
# themselves: where they are what fills it, room comes only of what is made of them. That takes more than they did, for
# as long as its record is kept, so it goes slowly, and not up to where running jobs could not be written down.
_FEW = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """
    A message that is in hand.

    Attributes:
        tag: The process that makes its job names it.
        queue: That it was sent to.
        raw: As it stood there.
        takings: How often it was taken, this time included.
    """

    tag: str
    queue: str
    raw: bytes
    takings: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """A message of which no job is to be made, because somebody emptied its queue."""

    held: Held
    job_id: str
    notifications: Mapping[str, Any]


class Inbox:
    """
    The queues of one process. All of it may raise `RedisUnavailable`.

    Args:
        client: Leaves bytes as they are: what others send may be anything.

    Attributes:
        most_takings: How often a message is taken to be read: as often as a job may lose its worker.
    """

    def __init__(self, client: redis.Redis, settings: Settings, queues: Sequence[str]) -> None:
        self._redis = client
        self._settings = settings
        self._scripts = Scripts(client, settings)
        self._queues = list(queues)
        self.most_takings = settings.max_attempts
        self._said: set[str] = set()  # lists that are none

    def take(self, most: int, *, even_if_full: bool = False) -> list[Held]:
        """
        Messages, each for this process alone as long as it holds them.

        One that was taken before, by somebody who let it lie, comes alone.

        Args:
            even_if_full: Else few while Redis has no room for jobs, and none when what runs may soon have none.
        """
        lists = [list_of(queue, priority) for queue in self._queues for priority in PRIORITIES]
        with map_errors(self._settings):
            if not self._redis.exists(names.HELD, *lists):  # Most looks: they are many, and cost a script.
                return []
        found, wrong = self._scripts.run(
            "take",
            token=secrets.token_hex(8),
            lists=lists,
            most=most,
            few=min(_FEW, most),
            hold_s=HOLD_S,
            full_share=None if even_if_full else FULL_SHARE,
            last_share=None if even_if_full else LAST_SHARE,
        )
        self._queues = [*self._queues[1:], *self._queues[:1]]  # Another is the first next time.
        self._say_wrong({each.decode() for each in wrong})
        return [_read(tag.decode(), held, takings) for tag, held, takings in found]

    def _say_wrong(self, lists: set[str]) -> None:
        for each in sorted(lists - self._said):
            log.error("a Redis key that should be a list of messages is not a list; delete or rename it", key=each)
        self._said = lists

    def put_back(self, held: Sequence[Held], pause_s: float = 0.0) -> None:
        """
        Nothing can be made of them at the moment, for no reason of theirs. Those that are let go stay so.

        Args:
            pause_s: For which nobody gets them: until then others come before them.
        """
        if held:
            self._scripts.run("put_back", tags=[each.tag for each in held], pause_s=pause_s)

    def hold(self, held: Sequence[Held]) -> None:
        """They stay with this process, for another `HOLD_S`."""
        if held:
            self._scripts.run("hold", tags=[each.tag for each in held], hold_s=HOLD_S)

    def revoke(self, messages: Sequence[Revoked]) -> list[bool]:
        """End messages as canceled jobs; their senders are notified. Returns whether each was no job before."""
        calls = [
            (
                "reject",
                arguments(
                    job_id=each.job_id,
                    queue=each.held.queue,
                    caller="celery",
                    status="canceled",
                    notifications=notification_args(each.notifications),
                    tag=each.held.tag,
                    retention_s=self._settings.retention_s,
                ),
            )
            for each in messages
        ]
        return [outcome == b"rejected" for (outcome,) in self._scripts.run_many(calls)]

    def count(self) -> int:
        """How many messages stand in the lists, in nobody's hands."""
        with map_errors(self._settings), self._redis.pipeline(transaction=False) as pipeline:
            for queue in self._queues:
                for priority in PRIORITIES:
                    pipeline.llen(list_of(queue, priority))
            return sum(each for each in pipeline.execute(raise_on_error=False) if isinstance(each, int))

    def in_hand(self) -> list[Held]:
        """Messages of these queues that somebody has taken, and made nothing of yet."""
        with map_errors(self._settings):
            pairs = cast("dict[bytes, bytes]", self._redis.hgetall(names.HELD))
        found = [_read(tag.decode(), held) for tag, held in pairs.items()]
        return [each for each in found if each.queue in self._queues]

    def without_job(self, job_ids: Sequence[str]) -> list[str]:
        """Those of these ids of which there is no record."""
        with map_errors(self._settings), self._redis.pipeline(transaction=False) as pipeline:
            for each in job_ids:
                pipeline.exists(names.job_key(each))
            return [each for each, is_there in zip(job_ids, pipeline.execute(), strict=True) if not is_there]

    def drop(self, *held: Held) -> None:
        """No job is made of them."""
        self._scripts.run_many([("let_go", arguments(tag=each.tag)) for each in held])

    def pass_on(self, held: Held, queue: str) -> None:
        """It is meant for another queue."""
        self._scripts.run("let_go", tag=held.tag, list=queue)


def _read(tag: str, held: bytes, takings: int = 1) -> Held:
    name, _, raw = held.partition(b"\n")
    return Held(tag=tag, queue=queue_in_list(name.decode())[0], raw=raw, takings=takings)
