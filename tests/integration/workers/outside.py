"""Messages as clients of all kinds write them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from celery import Celery
from celery.result import AsyncResult

from jobs.announce.notifier import Notifier
from workers.delivery.adoption import Adoption

QUEUE = "gpu.sim"
FIELDS: dict[str, Any] = {"prompt": "a red circle", "seed": 7}


def message(
    body: Any, headers: Mapping[str, Any], *, pack: Callable[[bytes], bytes] | None = None, **properties: Any
) -> bytes:
    """In kombu's envelope for Redis; the body packed, in base64, by what `pack` does."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return json.dumps(
        {
            "body": base64.b64encode(pack(text) if pack else text).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": dict(headers),
            "properties": {"body_encoding": "base64", "delivery_tag": "1", **properties},
        }
    ).encode()


def call(job_id: str, *, task: str = "imagemill.generate", **parts: Any) -> bytes:
    """A call of protocol 2, with what is to follow it."""
    return message([[], FIELDS, parts], {"id": job_id, "task": task, "lang": "py"})


def refusal(adoption: Adoption, notifier: Notifier, sender: Celery, task_id: str) -> str:
    """What a sender is told whose message was taken."""
    adoption.run_once()
    notifier.run_once()
    result: Any = AsyncResult(task_id, app=sender)
    with pytest.raises(Exception) as caught:
        result.get(timeout=60)
    return str(caught.value)
