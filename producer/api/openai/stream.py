"""The same answer as server-sent events, one for each image, which keeps a connection busy while a job waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.types import Receive, Scope, Send

from jobs.errors import ImagemillError
from producer.api.context import Context
from producer.api.openai.answers import described, encoded
from producer.api.openai.disconnects import cancel_soon
from producer.api.openai.errors import error_object, logged_problem_of
from producer.api.openai.request import PicturesRequest
from producer.client.async_job import AsyncJob
from producer.client.image import Image, images_of
from storage.errors import StorageError

_KEEP_ALIVE_S = 15.0

# The client's type has them. Nobody counts tokens here.
_USAGE = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 0,
}


class ImageStream(StreamingResponse):
    """
    Events of one job, up to its end. A client that leaves before has its job canceled, unless it `is_kept`.

    Args:
        notes: What there is to know of the request, beside what the job warns of.
    """

    def __init__(
        self, requested: PicturesRequest, context: Context, job_id: str, notes: Sequence[str], *, is_kept: bool
    ) -> None:
        super().__init__(
            self._events(),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        self._requested, self._context, self._job_id, self._is_kept = requested, context, job_id, is_kept
        self._notes = notes
        self._has_ended = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As starlette does, which cancels what waits when the client leaves, or does not even begin."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            if not self._has_ended and not self._is_kept:
                cancel_soon(self._context, self._job_id)

    async def _events(self) -> AsyncIterator[bytes]:
        waiting = asyncio.create_task(AsyncJob(self._job_id, self._context.loop).wait())
        try:
            while not (await asyncio.wait([waiting], timeout=_KEEP_ALIVE_S))[0]:
                yield KEEPALIVE_COMMENT
            record = waiting.result()
            self._has_ended = True
            for image in images_of(record, self._context.parts.store):
                warnings = [*self._notes, *record.warnings]
                yield _event(self._requested.completed, {**await self._completed(image), "warnings": warnings})
        except (ImagemillError, StorageError) as exc:
            problem = logged_problem_of(exc)
            if problem is None:
                raise
            yield _event("error", {"error": error_object(problem)})
        finally:
            waiting.cancel()

    async def _completed(self, image: Image) -> dict[str, Any]:
        return {
            "b64_json": await encoded(image, self._context.loop),
            "created_at": int(time.time()),
            **described(self._requested, image),
            "usage": _USAGE,
            "seed": image.record.seed,
        }


def _event(kind: str, data: dict[str, Any]) -> bytes:
    return format_sse_event(event=kind, data_str=orjson.dumps({"type": kind, **data}).decode())
