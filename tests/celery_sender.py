"""Somebody who has Celery and nothing of ours, for as long as a test takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery


@contextmanager
def celery_sender(url: str, **options: Any) -> Iterator[Celery]:
    """His app, with a Redis as broker and as backend of results; `options` are the app's."""
    with Celery(broker=url, backend=url, set_as_current=False, **options) as app:
        try:
            yield app
        finally:
            # Results that Python collects when the server has gone ask it for nothing any more: what they raise there
            # would be the fault of whatever test runs then.
            backend: Any = app.backend
            vars(backend)["remove_pending_result"] = lambda result: result
            backend.client.connection_pool.disconnect()
