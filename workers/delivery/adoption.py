"""
Makes jobs of plain Celery messages: the keyword arguments are the request, the task id is the job's.

It takes them out of the queues by itself, over a connection of its own, so that none waits for a free slot: from then
on it is a job like any other. An invalid request becomes a failed job, and its sender is notified.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog
from celery.app.task import Context as TaskRequest

from jobs import names
from jobs.announce.notifications import notifications_of
from jobs.broker.messages import TaskCall, UnreadableMessage, id_at_a_glance, read
from jobs.envelope import DEFAULT_CALLER
from jobs.errors import (
    FilesTooLarge,
    IdempotencyConflict,
    InvalidRequest,
    MessageOverQuota,
    ModelNotAvailable,
    QuotaExceeded,
    ReadersLost,
    RedisFull,
    RedisUnavailable,
)
from jobs.fleet.lists import list_of
from jobs.fleet.serving import Serving
from jobs.inputs.find import names_hosts, names_inputs
from jobs.kinds.registry import parse_request, settle
from jobs.scripts.ranks import LINE
from jobs.submit import submission_of
from jobs.table.inbox import Held, Inbox
from jobs.table.submission import Submission, Submitted
from storage.errors import StorageError
from workers.attempt.context import Context
from workers.delivery.asked import asked, named_by, said_of_times
from workers.delivery.searches import Fields, Searches

log = structlog.get_logger()

Prepared = tuple[Held, TaskCall, Submission]

_LOOK_EVERY_S = 0.4
_AGAIN_AFTER_S = 1.0
_LATER_S = 5.0  # before a message comes again of which nothing can be made now: others come in between
_MOST_AT_A_TIME = 100
_OVER_QUOTA_S = 600  # for which it is known that one was refused: a flood of them must not fill Redis


class Adoption:
    """
    One worker's part in it.

    Args:
        serving: Says what becomes of jobs that no worker serves; None where nothing does.

    Attributes:
        looked_at: When it last went through to the end, or learned that Redis cannot be asked; in seconds, monotonic.
    """

    def __init__(self, context: Context, inbox: Inbox, serving: Serving | None = None) -> None:
        self._context = context
        self._inbox = inbox
        self._serving = serving
        self._takes_singly = False  # Others of the same bunch may wait, each to be taken alone.
        self._in_hand: list[Held] = []  # of which it is not known that all are done with
        self._searches = Searches()
        self.looked_at = time.monotonic()

    def run(self) -> None:
        """Until the worker begins to stop; the others go on."""
        pause_s = _LOOK_EVERY_S
        while not self._context.draining.wait(pause_s):
            try:
                pause_s = 0.0 if self.run_once() == _MOST_AT_A_TIME or self._takes_singly else _LOOK_EVERY_S
            except (RedisUnavailable, RedisFull) as exc:
                log.warning("messages are left in their lists", reason=str(exc))
                pause_s = _AGAIN_AFTER_S
            self.looked_at = time.monotonic()
        self._searches.close()
        with suppress(RedisUnavailable):  # They are handed out again when nobody has held them for a while.
            self._inbox.put_back(self._searches.held)

    def run_once(self) -> int:
        """
        Make jobs of a bunch of messages, and of those whose pictures have been fetched. Returns how many were taken.

        Raises:
            RedisUnavailable, RedisFull: What is in hand is handed out again, here or elsewhere.
        """
        self._inbox.put_back(self._in_hand)
        self._in_hand = []
        self._inbox.hold(self._searches.held)
        taken = self._inbox.take(_MOST_AT_A_TIME)
        self._in_hand = list(taken)
        self._takes_singly = any(each.takings > 1 for each in taken)
        calls = [(each, call) for each in taken if (call := self._read(each)) is not None]
        found = self._limited([*self._found_at_once(calls), *self._found_by_now()])
        answers = self._context.table.adopt([submission for *_, submission in found]) if found else []
        self._context.pass_on([job_id for answer in answers for job_id in answer.released])  # Whatever comes behind it.
        for (each, call, submission), answer in zip(found, answers, strict=True):
            if (reason := _reason(submission, answer)) is not None:
                self._give_up(submission)
                self._refuse(each, call, reason)
        if (full := next((each.refused for each in answers if isinstance(each.refused, RedisFull)), None)) is not None:
            raise full
        self._in_hand = []
        return len(taken)

    def _found_at_once(self, calls: list[tuple[Held, TaskCall]]) -> Iterator[Prepared]:
        """Others are looked for in threads of their own."""
        for held, call in calls:
            find = self._search(held, call)
            if not names_hosts(named_by(call)):
                if (submission := self._prepare(held, call, find)) is not None:
                    yield held, call, submission
                continue
            if not self._searches.begin(held, call, find):
                self._inbox.put_back([held], _LATER_S)
            self._in_hand.remove(held)

    def _found_by_now(self) -> Iterator[Prepared]:
        for each in self._searches.ended():
            self._in_hand.append(each.held)
            if (submission := self._prepare(each.held, each.call, each.found.result)) is not None:
                yield each.held, each.call, submission

    def _read(self, held: Held) -> TaskCall | None:
        if held.takings > self._inbox.most_takings:
            self._refuse_unread(held)
            return None
        try:
            call = read(held.raw, held.queue)
        except UnreadableMessage as exc:
            self._refuse_unreadable(held, exc)
            return None
        if call.task == names.RUN_TASK:  # Of a producer of the version before.
            self._inbox.pass_on(held, list_of(names.line_of(held.queue), LINE))
            return None
        return call

    def _refuse_unread(self, held: Held) -> None:
        """As a dead job: every worker that read it was lost, and it was read alone."""
        lost = ReadersLost(held.takings - 1)
        log.error("message refused: every worker that reads it is lost", queue=held.queue, times=held.takings - 1)
        if (task_id := id_at_a_glance(held.raw)) is None:
            self._inbox.drop(held)
            return
        self._reject(held, task_id, {}, lost, notifications_of(TaskRequest(id=task_id, delivery_info={})))

    def _prepare(self, held: Held, call: TaskCall, find: Callable[[], Fields]) -> Submission | None:
        try:
            return self._context.finder.holder.hold(self._submission(held, call, find()))
        except InvalidRequest as exc:
            self._refuse(held, call, exc)
        except StorageError as exc:  # It names pictures. Others go on, and this one again, until the store is there.
            log.warning("a message is left in its list", job_id=call.task_id, reason=str(exc))
            self._inbox.put_back([held], _LATER_S)
            self._in_hand.remove(held)
        except (RedisUnavailable, RedisFull):
            raise
        except FilesTooLarge as exc:
            self._refuse(held, call, InvalidRequest("request", str(exc)))
        except Exception:  # What nobody foresaw of one message must not hold up all others.
            log.exception("bug: a message is refused", job_id=call.task_id)
            self._refuse(held, call, InvalidRequest("request", "cannot be read"))
        return None

    def _limited(self, found: list[Prepared]) -> list[Prepared]:
        """With what is said of their callers' API keys, where they have some: a key's limits hold here, too."""
        limits = self._context.table.callers.find({submission.spec.caller for *_, submission in found})

        def limited(submission: Submission) -> Submission:
            its = limits[submission.spec.caller]
            return replace(submission, quota=its.max_queued, max_kept_mib=its.max_kept_mib, weight=its.weight)

        return [(each, call, limited(submission)) for each, call, submission in found]

    def _give_up(self, submission: Submission) -> None:
        try:
            self._context.finder.holder.give_up(submission)
        except (StorageError, RedisUnavailable) as exc:
            log.warning("what came with a refused message is not cleared away yet", reason=str(exc))

    def _search(self, held: Held, call: TaskCall) -> Callable[[], Fields]:
        """Finds what a message names, in any thread: as its caller, within what the key of that one says."""
        owner, max_mib, finder = str(call.fields.get("caller") or DEFAULT_CALLER), None, self._context.finder
        if names_inputs(named_by(call)):
            max_mib = self._context.table.callers.find([owner])[owner].max_file_mib
        return lambda: finder.find(asked(held.queue, call), scope=None, owner=owner, max_mib=max_mib)

    def _submission(self, held: Held, call: TaskCall, fields: Fields) -> Submission:
        request = parse_request(fields)
        said = said_of_times(call, request)
        timed = parse_request({**fields, **said}) if said else request  # Held to what holds for a request.
        spec = settle(timed, self._context.catalogue)
        submission = submission_of(
            request,
            spec,
            self._context.catalogue,
            job_id=call.task_id,
            origin="celery",
            notifications=notifications_of(call.request),
            tag=held.tag,
        )
        self._check_served(submission)
        return submission

    def _check_served(self, submission: Submission) -> None:
        """A job may be for another model than those of the queue that its message was sent to."""
        if self._serving is None:
            return
        if (refusal := self._serving.refusal(submission.queue)) is not None:
            raise ModelNotAvailable(refusal.field, str(refusal))
        if (warning := self._serving.warning(submission.queue)) is not None:
            log.warning(warning, job_id=submission.job_id)

    def _refuse(self, held: Held, call: TaskCall, reason: InvalidRequest) -> None:
        """Write a failed job, for its sender to find, and to be notified of."""
        log.warning("job refused", job_id=call.task_id, code=str(reason.code))  # Why may repeat what it was.
        self._reject(held, call.task_id, {"args": call.args, **call.fields}, reason, notifications_of(call.request))

    def _refuse_unreadable(self, held: Held, exc: UnreadableMessage) -> None:
        log.error("message refused: it is no task call", queue=held.queue, field=exc.field, job_id=exc.task_id)
        if exc.task_id is None:
            self._inbox.drop(held)
            return
        self._reject(held, exc.task_id, {}, InvalidRequest(exc.field, str(exc)), notifications_of(exc.request))

    def _reject(
        self, held: Held, task_id: str, request: dict[str, Any], reason: InvalidRequest, notifications: dict[str, Any]
    ) -> None:
        self._context.table.reject(
            names.job_id_of(task_id),
            request=request,
            queue=held.queue,
            error=reason,
            notifications=notifications,
            tag=held.tag,
            kept_s=_OVER_QUOTA_S if isinstance(reason, MessageOverQuota) else None,
        )
        self._context.announcer.note_end(notifications)
        self._show(task_id, reason)

    def _show(self, task_id: str, reason: InvalidRequest) -> None:
        """In Flower a refused request is a task that failed; nothing of it but the reason."""
        events = self._context.dispatcher.sent_events
        if events is None:  # Flower sees nothing of what comes while this worker starts.
            return
        task = {"uuid": task_id, "name": names.GENERATE_TASK, "args": "", "kwargs": ""}
        events.publish("task-received", task, None)
        events.publish("task-failed", {"uuid": task_id, "exception": f"{reason.code}: {reason}", "traceback": ""}, None)


def _reason(submission: Submission, answer: Submitted) -> InvalidRequest | None:
    """Why no job was made of a message whose job could be written."""
    if isinstance(answer.refused, RedisFull):
        return None  # Of this one something will be made, once there is room.
    if isinstance(answer.refused, IdempotencyConflict):
        return InvalidRequest("idempotency_key", str(answer.refused))
    if isinstance(answer.refused, QuotaExceeded):
        return MessageOverQuota(str(answer.refused))
    if answer.refused is not None:
        return InvalidRequest("request", str(answer.refused))
    if answer.job_id != submission.job_id:
        return InvalidRequest("idempotency_key", f"was used for job {answer.job_id}; use that job")
    return None
