"""
Messages that others put into our queues, on their way to becoming jobs.

A message is taken out of its list and kept under a tag by one script, and let go by the one that writes its job, so
that no moment is without it. Whoever dies in between leaves it to others.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import cast

import redis
from redis.client import NEVER_DECODE

from jobs import names
from jobs.process.settings import Settings
from jobs.redis.connection import map_errors
from jobs.redis.memory import FULL_SHARE
from jobs.scripts.scripts import Scripts

_SEPARATOR = "\x06\x16"  # kombu.transport.redis: a queue's list of each priority but 0 has it and the number
PRIORITIES = range(10)  # that a message may have; clients differ in which of them they use
HOLD_S = 30  # longer than making a bunch of jobs takes
_READ_AT_A_TIME = 250  # messages of a list


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """
    A message that is in hand.

    Attributes:
        tag: Whoever makes its job names it.
        queue: That it was sent to.
        raw: As it stood there.
    """

    tag: str
    queue: str
    raw: bytes


class Inbox:
    """
    The queues of one process. All of it may raise `RedisUnavailable`.

    Args:
        client: Leaves bytes as they are: what others send may be anything.
    """

    def __init__(self, client: redis.Redis, settings: Settings, queues: Sequence[str]) -> None:
        self._redis = client
        self._settings = settings
        self._scripts = Scripts(client, settings)
        self._lists = [list_of(queue, priority) for queue in queues for priority in PRIORITIES]

    def take(self, most: int) -> list[Held]:
        """Messages, each for this process alone as long as it holds them; none while Redis has no room for jobs."""
        with map_errors(self._settings):
            if not self._redis.exists(names.HELD, *self._lists):  # Most looks: they are many, and cost a script.
                return []
        found = self._scripts.run(
            "take",
            token=secrets.token_hex(8),
            lists=self._lists,
            most=most,
            hold_s=HOLD_S,
            full_share=FULL_SHARE,
        )
        return [_read(tag.decode(), held) for tag, held in found]

    def drop(self, held: Held) -> None:
        """No job is made of it."""
        self._scripts.run("let_go", tag=held.tag)

    def pass_on(self, held: Held, queue: str) -> None:
        """It is meant for another queue."""
        self._scripts.run("let_go", tag=held.tag, list=queue)


def task_ids(client: redis.Redis, queue: str) -> Iterator[str]:
    """
    The ids that a queue's messages, in somebody's hands or not, say of themselves; raises what redis-py does.

    From the end at which they come in: those that come meanwhile have some be read twice, and none be left out.
    """
    for priority in PRIORITIES:
        for start in count(0, _READ_AT_A_TIME):
            end = start + _READ_AT_A_TIME - 1
            messages = _bytes(client, "LRANGE", list_of(queue, priority), start, end)
            yield from filter(None, map(_task_id, messages))
            if len(messages) < _READ_AT_A_TIME:
                break
    held = [_read("", each) for each in _bytes(client, "HVALS", names.HELD)]  # Asked last, so that none slips past.
    yield from filter(None, (_task_id(each.raw) for each in held if each.queue == queue))


def _bytes(client: redis.Redis, *command: str | int) -> list[bytes]:
    """The answer as it is: what others send may be anything."""
    reading = {NEVER_DECODE: True}
    return cast("list[bytes]", client.execute_command(*command, **reading))  # type: ignore[no-untyped-call]


def _task_id(message: bytes) -> str | None:
    try:
        envelope = json.loads(message)
        said = (envelope.get("headers") or {}).get("id")  # In protocol 1 the body alone has it.
        return str(said or json.loads(base64.b64decode(envelope["body"]))["id"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None  # It will be no job.


def list_of(queue: str, priority: int) -> str:
    """The list of Redis that a queue's messages of a priority stand in."""
    return f"{queue}{_SEPARATOR}{priority}" if priority else queue


def queue_in_list(key: str) -> tuple[str, int | None]:
    """The queue and the priority whose messages stand in a list of Redis; None for a name that kombu gives none."""
    queue, separator, priority = key.partition(_SEPARATOR)
    if not separator:
        return queue, 0
    return queue, next((each for each in PRIORITIES if each and priority == str(each)), None)


def _read(tag: str, held: bytes) -> Held:
    name, _, raw = held.partition(b"\n")
    return Held(tag=tag, queue=name.decode().partition(_SEPARATOR)[0], raw=raw)
