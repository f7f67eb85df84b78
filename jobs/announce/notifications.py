"""The notifications that a message from outside asks for, whatever becomes of it."""

from __future__ import annotations

from typing import Any

from celery.app.task import Context

from jobs.announce.celery import PROTOCOL, wanted_by


def notifications_of(request: Context) -> dict[str, Any]:
    """
    By protocol, what must be known to notify of its end.

    If the signatures of a message are invalid, only its sender is notified.
    """
    try:
        wants = wanted_by(request)
    except (TypeError, ValueError, LookupError, AttributeError):
        wants = wanted_by(Context(id=request.id, delivery_info={}))
    return {} if wants is None else {PROTOCOL: wants}
