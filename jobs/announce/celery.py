"""
Notifications for callers who submit with plain Celery: results, callbacks, and their parts of a canvas.

Celery's own backend sends them, with the data of the caller's message. A job that is done ends in SUCCESS, one
that failed in FAILURE; one that was canceled, or whose deadline passed, is to Celery a task that was revoked.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from celery import Celery, group, signature
from celery.app.task import Context
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult
from kombu.utils.json import dumps as marked
from kombu.utils.json import loads as unmarked

from jobs import names
from jobs.announce.backends import RESULT_BACKENDS, Overtaken
from jobs.broker.addresses import broker_settings, celery_url, sentinel_transport
from jobs.errors import JobFailed
from jobs.process.settings import Settings
from jobs.table.record import JobRecord
from jobs.table.states import Status
from jobs.view import view_of

PROTOCOL: Final = "celery"

_KEPT = (
    *("root_id", "parent_id", "correlation_id", "reply_to", "replaced_task_nesting", "stamps", "stamped_headers"),
    *("callbacks", "errbacks", "chain", "chord", "group", "group_index"),
)
_DELIVERY = ("priority", "routing_key", "exchange")
_CALLBACKS = ("callbacks", "errbacks")
_SEQUELS = frozenset({*_CALLBACKS, "chain", "chord", "group"})  # what an end sets going
# Of Celery itself. Clients in other languages take the first result that they find for the end: celery-php does.
_LANGUAGE = "py"
_ANSWERS_S = 5.0  # how long a server has for one answer


def wanted_by(request: Any) -> dict[str, Any] | None:
    """
    What must be known of a Celery request (`task.request`) to notify of its end; None if no notification is wanted.

    Callbacks get ids that follow from the job's, so that one that is sent twice can be known again.
    """
    wants: dict[str, Any] = {} if names.is_job_id(str(request.id)) else {"id": str(request.id)}
    wants |= {name: value for name in _KEPT if (value := getattr(request, name, None)) is not None}
    is_heard = not request.ignore_result
    if not (is_heard or any(wants.get(name) for name in ("callbacks", "errbacks", "chain", "chord"))):
        return None
    for name in _CALLBACKS:
        if isinstance(wants.get(name), list):
            wants[name] = _with_ids(wants[name], f"{request.id} {name}")
    delivery = {name: value for name in _DELIVERY if (value := (request.delivery_info or {}).get(name)) is not None}
    hears_start = is_heard and getattr(request, "lang", None) == _LANGUAGE
    wants |= {"delivery_info": delivery, "ignore_result": not is_heard, "hears_start": hears_start}
    return dict(json.loads(marked(wants)))  # Arguments of callbacks may be moments, UUIDs, decimals: kombu marks them.


def _with_ids(callbacks: Sequence[Mapping[str, Any]], start: str) -> list[dict[str, Any]]:
    return [_with_id(each, f"{start} {position}") for position, each in enumerate(callbacks)]


def _with_id(callback: Mapping[str, Any], name: str, given: str | None = None) -> dict[str, Any]:
    """A canvas has the id of what comes last in it, as Celery has it, and all else in it ids of its own."""
    derived = given or str(uuid.uuid5(uuid.NAMESPACE_OID, f"imagemill {name}"))
    options = {"task_id": derived, **(callback.get("options") or {})}
    fields, own = callback.get("kwargs") or {}, options["task_id"]
    match callback.get("task"):
        case "celery.group":
            fields = {**fields, "tasks": _with_ids(fields["tasks"], name)}
        case "celery.chain" if fields["tasks"]:
            *first, last = fields["tasks"]
            fields = {**fields, "tasks": [*_with_ids(first, name), _with_id(last, f"{name} last", own)]}
        case "celery.chord":
            give = _with_id if isinstance(fields["header"], Mapping) else _with_ids
            header, body = give(fields["header"], f"{name} header"), _with_id(fields["body"], f"{name} body", own)
            fields = {**fields, "header": header, "body": body}
    return {**callback, "options": options, "kwargs": fields}


def hears_start(wants: Mapping[str, Any]) -> bool:
    """Whether a notification is sent when a job starts."""
    return bool(wants.get("hears_start"))


class CeleryResults:
    """
    Notifies through Celery's result backend and its broker. An exception means that the notification failed.

    It tries once, and waits for nobody for long: the outbox tries again.
    """

    def __init__(self, settings: Settings) -> None:
        """The app is as a sender's is: callbacks that name no queue go where Celery sends them, and not into ours."""
        backend = settings.result_backend and celery_url(settings.result_backend)
        app = Celery("imagemill.results", broker=celery_url(settings.redis_url), backend=backend, set_as_current=False)
        app.loader.override_backends = RESULT_BACKENDS
        options = broker_settings(settings)
        app.conf.update(
            task_serializer="json",
            result_serializer="json",
            accept_content=["json"],
            result_expires=24 * 3600,
            broker_transport_options={
                "socket_timeout": _ANSWERS_S,
                "socket_connect_timeout": _ANSWERS_S,
                "socket_keepalive": True,
                "health_check_interval": 15,
                **sentinel_transport(settings.redis_url, settings),
            },
            redis_socket_timeout=_ANSWERS_S,
            redis_socket_connect_timeout=_ANSWERS_S,
            redis_socket_keepalive=True,
            redis_backend_health_check_interval=15,
            enable_utc=True,
            **options,
        )
        tries = {"retry_policy": {"max_retries": 0}}
        app.conf.result_backend_transport_options = {**options.get("result_backend_transport_options", {}), **tries}
        self._app = app

    def close(self) -> None:
        """Close the connections to the backend of results that this thread has opened."""
        client = getattr(self._app.backend, "client", None)
        if client is not None:
            client.connection_pool.disconnect()

    def notify_start(self, record: JobRecord, wants: Mapping[str, Any], worker: str) -> None:
        """A worker has claimed the job; said by nobody where it has ended since, or begun anew."""
        task_id, request = _request(record, wants, record.started_at)
        with suppress(Overtaken):
            self._app.backend.store_result(task_id, {"hostname": worker}, "STARTED", request=request)

    def notify(self, record: JobRecord, wants: Mapping[str, Any]) -> None:
        """
        Notify of an end; repeating it does no harm. An end is not reported after a later one of the same job.

        When the result is deleted, its sender's goes the same way, and whatever follows the job is not sent again.
        """
        if PROTOCOL in record.notified:
            wants = {name: value for name, value in wants.items() if name not in _SEQUELS}
        with suppress(Overtaken):
            self._notify(record, *_request(record, wants, record.deleted_at or record.ended_at))

    def _notify(self, record: JobRecord, task_id: str, request: Any) -> None:
        stores = not request.ignore_result
        backend = self._app.backend
        if record.status is Status.SUCCEEDED:
            result = _result_of(record)
            try:
                self._call_back(request, result)
            finally:  # One that cannot be sent is tried again, and keeps nobody from the result meanwhile.
                backend.mark_as_done(task_id, result, request=request, store_result=stores)
        elif record.status is Status.FAILED:
            error = record.error
            reason = JobFailed(task_id, error.code if error else "", error.message if error else "")
            backend.mark_as_failure(task_id, reason, request=request, store_result=stores)
        else:
            why = TaskRevokedError("expired" if record.status is Status.EXPIRED else "canceled")
            backend.mark_as_failure(task_id, why, request=request, store_result=stores, state="REVOKED")

    def _call_back(self, request: Any, result: Any) -> None:
        """As `celery.app.trace` does when a task is done: its callbacks, then the next of its chain."""
        about = {"parent_id": request.id, "root_id": request.root_id or request.id}
        for each in request.callbacks or ():
            callback = signature(each, app=self._app)
            sent = callback.apply_async((result,), **about)
            if not isinstance(callback, group):
                request.children.append(AsyncResult(sent.id, app=self._app))
        if request.chain:
            following = signature(request.chain[-1], app=self._app)
            following.apply_async((result,), chain=request.chain[:-1], **about)


def _result_of(record: JobRecord) -> dict[str, Any]:
    """The job, as whoever waits for it gets it; to him the result is gone as soon as it is being deleted."""
    view = view_of(record)
    shown = view if view.result is None else view.model_copy(update={"result": "gone"})
    return shown.model_dump(mode="json", exclude_none=True)


def _request(record: JobRecord, wants: Mapping[str, Any], moment: float | None) -> tuple[str, Any]:
    """The task's id, and its request, with the moment of what is reported."""
    fields = {"id": record.id, "delivery_info": {}, **unmarked(json.dumps(wants)), "moment": moment}
    request: Any = Context(fields, called_directly=False)
    request.headers = None
    return request.id, request
