"""
Everybody in this process who waits for jobs, behind one subscription to Redis.

The job table's scripts publish each event beside writing it into the job's stream. Here one connection subscribes to
the news of all jobs that somebody waits for, so a waiting client costs Redis nothing. News can get lost with the
connection; the streams cannot. So each time that Redis confirms a subscription, the first time and after every
reconnect, a client that waits for that job reads its stream from its last event, and goes on from there.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import redis.asyncio
import structlog

from jobs import names
from jobs.errors import RedisUnavailable
from jobs.process.address import address_of
from jobs.process.settings import Settings
from jobs.redis.connection import connect_async, map_errors
from jobs.table.events import EVENT_ID, Event, event_of, is_later
from jobs.table.states import has_ended
from producer.client.loop_turns import aside

log = structlog.get_logger()

THE_END = f"{2**63 - 1}-0"  # After every event: to wait only for a job's end.

_QUIET_S = 10.0  # Nothing received for so long: ask whether Redis is there. Nothing again: it is not.
_AGAIN_S = 0.5
_INBOX_EVENTS = 256
_CHANNEL_PREFIX = names.news_channel("")


class _Inbox:
    """
    What one follower has not seen yet; None where it has to read the stream.

    News count only from its first reading on: what comes before, of a subscription that somebody else had, may have
    gaps in front of it, and the reading finds it anyway.
    """

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._is_behind = True
        self._must_read = False
        self._wakeup = asyncio.Event()

    def put(self, event: Event) -> None:
        if self._is_behind:
            return
        if len(self._events) >= _INBOX_EVENTS:  # A slow reader; the stream keeps them for it.
            self.ask_to_read()
            return
        self._events.append(event)
        self._wakeup.set()

    def ask_to_read(self) -> None:
        self._events.clear()
        self._is_behind = self._must_read = True
        self._wakeup.set()

    def wake(self) -> None:
        self._wakeup.set()

    async def take(self, quiet_s: float | None) -> list[Event] | None:
        with suppress(TimeoutError):
            async with asyncio.timeout(quiet_s):
                await self._wakeup.wait()
        self._wakeup.clear()
        if self._must_read:
            self._is_behind = self._must_read = False
            return None
        taken = list(self._events)
        self._events.clear()
        return taken


class Waiters:
    """
    One for each event loop.

    Attributes:
        is_closed: Nobody is let wait any more.
    """

    def __init__(self, client: redis.asyncio.Redis, settings: Settings) -> None:
        self._redis = client
        self._settings = settings
        self._rooms: dict[str, set[_Inbox]] = {}  # by job
        self._heard: set[str] = set()  # jobs whose news come in: Redis has confirmed it on this connection
        self._changed = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None
        self.is_closed = False

    async def follow(self, job_id: str, after: str = "0") -> AsyncIterator[Event]:
        """
        Yield a job's events behind `after`, as they come, up to "completed".

        Ends without that event where `follow_with_pauses` does.
        """
        async for event in self.follow_with_pauses(job_id, after, quiet_s=None):
            if event is not None:
                yield event

    async def follow_with_pauses(
        self, job_id: str, after: str, *, quiet_s: float | None
    ) -> AsyncIterator[Event | None]:
        """
        The same, with None whenever nothing came for `quiet_s` seconds.

        Ends without that event where the job is gone, `after` is its last event, or this process is about to stop.
        While Redis is away nothing comes; what happened meanwhile comes afterwards.
        """
        with self._waiting_for(job_id) as inbox:
            while not self.is_closed:
                _leave_if_canceled()
                news = await aside(inbox.take(quiet_s))
                is_over = False
                if news == []:
                    yield None
                if news is None:
                    news, is_over = await self._read(job_id, after)
                for event in news:
                    if is_later(event.id, after):
                        after = event.id
                        yield event
                    if event.type == "completed":
                        return
                if is_over:
                    return

    async def wait_for_end(self, job_id: str) -> None:
        """Return when the job has ended, or is gone, or this process is about to stop."""
        async for _ in self.follow(job_id, THE_END):
            pass

    def close(self) -> None:
        """Let everybody go who waits, and nobody wait from now on."""
        self.is_closed = True
        for inboxes in self._rooms.values():
            for inbox in inboxes:
                inbox.wake()

    async def aclose(self) -> None:
        """The same, and give the connection back."""
        self.close()
        if self._listener is not None:
            self._listener.cancel()
            with suppress(asyncio.CancelledError):
                await self._listener

    @contextmanager
    def _waiting_for(self, job_id: str) -> Iterator[_Inbox]:
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen(), name="waiters")
        inbox = _Inbox()
        room = self._rooms.setdefault(job_id, set())
        room.add(inbox)
        if job_id in self._heard:
            inbox.ask_to_read()
        self._changed.set()
        try:
            yield inbox
        finally:
            room.discard(inbox)
            if not room:
                self._rooms.pop(job_id, None)
                self._changed.set()

    async def _read(self, job_id: str, after: str) -> tuple[list[Event], bool]:
        """Events of the stream behind `after`, and whether no more will come."""
        while True:
            try:
                with map_errors(self._settings):
                    pipeline = self._redis.pipeline(transaction=True)
                    pipeline.xrange(names.events_key(job_id), min=f"({after}")
                    pipeline.hmget(names.job_key(job_id), ["status", "ended_at"])
                    entries, (status, ended_at) = await pipeline.execute()
            except RedisUnavailable:
                if self.is_closed:
                    return [], True
                await asyncio.sleep(_AGAIN_S)
                continue
            _leave_if_canceled()
            found = [event_of(entry_id, fields) for entry_id, fields in entries]
            return found, status is None or has_ended(status, ended_at)

    async def _listen(self) -> None:
        """Keep a connection subscribed to what is wanted, until it is canceled."""
        is_away = False
        while True:
            _leave_if_canceled()
            try:
                async with self._subscription() as pubsub:
                    _leave_if_canceled()
                    if is_away:
                        log.info("waiting clients get events again")
                        is_away = False
                    await self._serve(pubsub)
            except (redis.exceptions.RedisError, OSError) as exc:
                if not is_away:
                    where = address_of(self._settings.redis_url)
                    log.warning("waiting clients get no events", redis=where, reason=str(exc))
                is_away = True
            except Exception:  # Everybody who waits hangs on this one task.
                log.exception("bug in the listener for waiting clients")
            self._heard.clear()
            await asyncio.sleep(_AGAIN_S)

    @asynccontextmanager
    async def _subscription(self) -> AsyncIterator[redis.asyncio.client.PubSub]:
        # A pool of its own, for it is held for good. No retries: a connection that broke is made anew, here.
        async with connect_async(self._settings, connections=1, retries=0) as client, client.pubsub() as pubsub:
            await pubsub.subscribe(names.QUIET_CHANNEL)
            yield pubsub

    async def _serve(self, pubsub: redis.asyncio.client.PubSub) -> None:
        """Receive and subscribe, until one of the two fails."""
        # No TaskGroup: until Python 3.13 its task looks canceled ever after when another one has failed.
        tasks = [
            asyncio.create_task(self._hear(pubsub)),
            asyncio.create_task(self._subscribe_to_what_is_wanted(pubsub)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _hear(self, pubsub: redis.asyncio.client.PubSub) -> None:
        is_asked = False
        while True:
            _leave_if_canceled()
            message = await pubsub.get_message(timeout=_QUIET_S)
            if message is not None:
                is_asked = False
                self._pass_on(message)
            elif is_asked:
                raise redis.exceptions.ConnectionError("the connection is silent")
            else:
                await pubsub.ping(message="are you there")
                is_asked = True

    async def _subscribe_to_what_is_wanted(self, pubsub: redis.asyncio.client.PubSub) -> None:
        subscribed: set[str] = set()
        while True:
            _leave_if_canceled()
            wanted = set(self._rooms)
            if new := wanted - subscribed:
                await pubsub.subscribe(*map(names.news_channel, new))
            if gone := subscribed - wanted:
                self._heard -= gone
                await pubsub.unsubscribe(*map(names.news_channel, gone))
            subscribed = wanted
            _leave_if_canceled()
            await self._changed.wait()
            self._changed.clear()

    def _pass_on(self, message: dict[str, Any]) -> None:
        kind, job_id = message["type"], str(message["channel"]).removeprefix(_CHANNEL_PREFIX)
        inboxes = self._rooms.get(job_id, ())
        if kind == "message":
            event = _news_of(str(message["data"]))
            for inbox in inboxes:
                inbox.put(event) if event else inbox.ask_to_read()
        elif kind == "subscribe":
            self._heard.add(job_id)
            for inbox in inboxes:
                inbox.ask_to_read()
        elif kind == "unsubscribe":
            self._heard.discard(job_id)


def _news_of(text: str) -> Event | None:
    """An event as published; None where a newer version publishes it in another form, and the stream has to be read."""
    entry_id, _, rest = text.partition(" ")
    kind, _, data = rest.partition(" ")
    return event_of(entry_id, {"type": kind, "data": data}) if re.fullmatch(EVENT_ID, entry_id) else None


def _leave_if_canceled() -> None:
    # redis-py waits by `asyncio.wait_for`, which in Python 3.11 can swallow a cancellation that comes when the wait is
    # just over (CPython issue 86296): the task would go on for ever.
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
