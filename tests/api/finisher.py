"""Stands for the workers: ends every job as soon as it is released, with an image that is stored, or without."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import redis
from PIL import Image

from jobs import names
from jobs.kinds.picture import Stage
from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.table.table import JobTable
from storage.backends.s3.store import S3Store

_SIDE_PX = 8
_EVERY_S = 0.02
_STEPS = 2
_DEADLINE_S = 60.0


@contextmanager
def finishing(client: redis.Redis, settings: Settings, store: S3Store) -> Iterator[None]:
    """End jobs for a while."""
    stopping = threading.Event()
    finisher = _Finisher(client, settings, store)
    thread = threading.Thread(target=finisher.run, args=(stopping,), name="finisher")
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(_DEADLINE_S)
        assert not thread.is_alive()


class _Finisher:
    def __init__(self, client: redis.Redis, settings: Settings, store: S3Store) -> None:
        self._redis = client
        self._table = JobTable(client, settings)
        self._store = store
        self._picture = _picture()

    def run(self, stopping: threading.Event) -> None:
        """Until told to stop."""
        while not stopping.wait(_EVERY_S):
            for queue in cast("set[str]", self._redis.smembers(names.QUEUES)):
                for job_id in cast("list[str]", self._redis.zrange(names.released_key(queue), 0, -1)):
                    self._end(job_id)

    def _end(self, job_id: str) -> None:
        claim, _ = self._table.claim(job_id, owner="finisher")
        if claim is None:
            return
        for step in range(_STEPS + 1):
            if self._table.progress(claim, Stage.GENERATE, step, _STEPS):
                self._table.finish(claim, Status.CANCELED)
                return
        if (
            claim.spec.get("priority") == "low"
        ):  # No way for OpenAI's clients to ask for it, for whom a failed job is a 500.
            self._table.finish(claim, Status.FAILED, error={"code": "generation_error", "message": "it broke"})
        else:
            self._table.finish(claim, Status.SUCCEEDED, artifacts=[self._stored(job_id)], timings={"total": 0.1})

    def _stored(self, job_id: str) -> dict[str, Any]:
        """One for each job, for its result may be deleted."""
        key, content = f"finisher/{job_id}.png", self._picture
        self._store.put(key, content, "image/png")
        sides = {"width": _SIDE_PX, "height": _SIDE_PX}
        sha256 = hashlib.sha256(content).hexdigest()
        return {"key": key, "content_type": "image/png", **sides, "bytes": len(content), "sha256": sha256, "seed": 7}


def _picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (_SIDE_PX, _SIDE_PX), "red").save(file, "png")
    return file.getvalue()
