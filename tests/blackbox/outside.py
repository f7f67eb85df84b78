"""Somebody who has Celery alone: what he sends, where it stands until it is taken, and what he is told."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from celery import Celery, chain, chord, group
from celery.canvas import Signature
from celery.result import AsyncResult

from tests.blackbox.system import until

Result = AsyncResult[Any]

GENERATE = "imagemill.generate"
QUEUE = "gpu.sim"
PROMPT = "a green cross on a white background"
THEIRS = "theirs"  # the queue of the tasks that follow; nobody empties it, so that what was sent can be counted

_PRIORITIES = range(10)  # that a message may have
_HELD = "imagemill:held"  # messages that a worker makes jobs of at the moment
_COPIES = "unacked"  # the same in the first version, in the hands of kombu


def lists_of(queue: str) -> list[str]:
    """Redis' lists of a queue: kombu has one for each priority."""
    return [f"{queue}\x06\x16{priority}" if priority else queue for priority in _PRIORITIES]


def standing(client: redis.Redis, queue: str = QUEUE) -> int:
    """Messages of which no job was made yet: in the queue's lists, or taken by a worker."""
    in_lists = sum(int(client.llen(each)) for each in lists_of(queue))
    return in_lists + int(client.hlen(_HELD)) + int(client.hlen(_COPIES))


def messages(client: redis.Redis, queue: str = QUEUE) -> list[tuple[str, str]]:
    """Each message that stands in the queue's lists, behind the name of its list."""
    return [(each, str(message)) for each in lists_of(queue) for message in client.lrange(each, 0, -1)]


def deliver(client: redis.Redis, copies: Sequence[tuple[str, str]]) -> None:
    """Put messages into their lists once more."""
    for name, message in copies:
        client.lpush(name, message)


def fill(client: redis.Redis, share: float) -> None:
    """Give Redis so little memory that this share of it is used; of so much that 3 % is room for some messages."""
    client.setrange("outsider", 100 << 20, "x")
    client.config_set("maxmemory", int(int(client.info("memory")["used_memory"]) / share))


def make_room(client: redis.Redis) -> None:
    """Take the bound away again."""
    client.config_set("maxmemory", 0)
    client.delete("outsider")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A task that was sent to `THEIRS`."""

    task: str
    task_id: str
    args: list[Any]
    parent_id: str | None


def calls(client: redis.Redis, task: str) -> list[Call]:
    """All that were sent so far of one name, the first one first."""
    found = [json.loads(str(each)) for each in reversed(client.lrange(THEIRS, 0, -1))]
    return [_call(each) for each in found if each["headers"]["task"] == task]


def _call(message: Mapping[str, Any]) -> Call:
    head = message["headers"]
    args = json.loads(base64.b64decode(message["body"]))[0]
    return Call(task=head["task"], task_id=head["id"], args=args, parent_id=head["parent_id"])


def generate(app: Celery, fields: Mapping[str, Any] | None = None, **options: Any) -> Signature[Any]:
    """A request, as README has it; `options` are the message's."""
    where = {name: value for name, value in {"queue": QUEUE, **options}.items() if value is not None}
    kwargs = {"prompt": PROMPT, **(fields or {})}
    return app.signature(GENERATE, kwargs=kwargs, options=where, immutable=True)


def theirs(app: Celery, name: str) -> Signature[Any]:
    """A task of the sender's own."""
    return app.signature(name, options={"queue": THEIRS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fan:
    """
    One of each thing that a sender can wait for, to end alike.

    Attributes:
        plain: A task.
        linked: One with a callback for each end.
        unheard: The same, whose result he does not want.
        chained: The next of a chain.
        first: The first of it, a job.
        grouped: A group's.
        body: That of a chord.
        parts: The chord's others, in their order.
    """

    plain: Result
    linked: Result
    unheard: Result
    chained: Result
    first: Result
    grouped: tuple[Result, ...]
    body: Result
    parts: tuple[Result, ...]

    @classmethod
    def send(cls, app: Celery, fields: Mapping[str, Any] | None = None, **options: Any) -> Fan:
        """Each with these keyword arguments, and options of its message."""

        def one() -> Signature[Any]:
            return generate(app, fields, **options)

        links: Any = {"link": theirs(app, "theirs.done"), "link_error": theirs(app, "theirs.failed")}
        chained: Any = chain(one(), theirs(app, "theirs.next"), app=app).apply_async()
        grouped: Any = group([one(), one()], app=app).apply_async()
        body: Any = chord([one(), one(), one()], theirs(app, "theirs.body"), app=app).apply_async()
        return cls(
            plain=one().apply_async(),
            linked=one().apply_async(**links),
            unheard=one().apply_async(ignore_result=True, **links),
            chained=chained,
            first=chained.parent,
            grouped=tuple(grouped.results),
            body=body,
            parts=tuple(body.parent.results),
        )

    @property
    def heard(self) -> Iterator[Result]:
        """Jobs whose results he waits for."""
        yield from (self.plain, self.linked, self.first, *self.grouped, *self.parts)

    @property
    def ids(self) -> list[str]:
        """Of all its jobs."""
        return [str(each.id) for each in (*self.heard, self.unheard)]

    def check(self, client: redis.Redis, state: str, before: str = "") -> None:
        """Wait until all of it has ended as stock Celery has it end in a state, `before` in another."""
        for each in self.heard:
            wait_for(each, state, before)
        if state == "SUCCESS":
            self._check_success(client, has_chord=not before)  # That is over, once a part has failed.
        else:
            self._check_errbacks(client)
            wait_for(self.chained, state)
            wait_for(self.body, "FAILURE")
            assert not self._following(client), "something followed what did not succeed"
        assert self.unheard.state == "PENDING", "nobody wanted to hear of it"

    def _check_success(self, client: redis.Redis, *, has_chord: bool) -> None:
        for each in (self.linked, self.unheard):
            call = self._called(client, "theirs.done", each)
            assert (call.args[0]["id"], call.args[0]["status"]) == (each.id, "succeeded")
        following = self._called(client, "theirs.next", self.first)
        assert (following.task_id, following.args[0]["id"]) == (self.chained.id, self.first.id)
        if has_chord:
            (body,) = until("the chord's body was called", lambda: self._bodies(client))
            assert [each["id"] for each in body.args[0]] == [each.id for each in self.parts]

    def _bodies(self, client: redis.Redis) -> list[Call]:
        return distinct(each for each in calls(client, "theirs.body") if each.task_id == self.body.id)

    def _following(self, client: redis.Redis) -> list[Call]:
        """What is to follow a success alone."""
        found = [*calls(client, "theirs.done"), *calls(client, "theirs.next")]
        return [*(each for each in found if each.parent_id in self.ids), *self._bodies(client)]

    def _check_errbacks(self, client: redis.Redis) -> None:
        for each in (self.linked, self.unheard):
            assert self._called(client, "theirs.failed", each).args == [each.id]

    @staticmethod
    def _called(client: redis.Redis, task: str, job: Result) -> Call:
        """The one call that followed a job; it may have come twice, under one id."""

        def found() -> list[Call]:
            return distinct(each for each in calls(client, task) if each.parent_id == job.id)

        (call,) = until(f"{task} was called for {job.id}", found)
        return call


def distinct(found: Any) -> list[Call]:
    """Calls, each id once: at least once is what is promised, and that a repetition can be known."""
    return list({each.task_id: each for each in found}.values())


def wait_for(result: Result, state: str, before: str = "") -> None:
    """Until a task has an end, another than `before` where it had one; and it is this one."""
    ends = {"SUCCESS", "FAILURE", "REVOKED"} - {before}

    def end() -> str | None:
        state = str(result.app.AsyncResult(result.id).state)  # A new one each time: it remembers the first end.
        return state if state in ends else None

    found = until(f"task {result.id} has an end", end)
    assert found == state, f"task {result.id} ended as {found}"
