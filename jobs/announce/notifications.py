"""Whom a message from outside wants told, whatever becomes of it."""

from __future__ import annotations

from typing import Any

from celery.app.task import Context

from jobs.announce.celery import PROTOCOL, wanted_by


def notifications_of(request: Context) -> dict[str, Any]:
    """
    By protocol, what has to be known to tell its end.

    Of a message with signatures that are none the sender himself is told.
    """
    try:
        wants = wanted_by(request)
    except (TypeError, ValueError, LookupError, AttributeError):
        wants = wanted_by(Context(id=request.id, delivery_info={}))
    return {} if wants is None else {PROTOCOL: wants}
