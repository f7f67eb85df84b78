"""One attempt at a claimed job: encode → generate → postprocess → upload → finish."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import tenacity

from jobs.errors import ErrorCode, Fenced, RedisUnavailable
from jobs.record import ImageRecord, JobRecord
from jobs.states import Stage, Status
from jobs.table import Claim, JobTable
from storage.errors import StorageError
from storage.s3 import ImageStore
from workers.encode import encode
from workers.errors import GenerationFailed, JobLeft, map_device_errors
from workers.generate import decode, generate
from workers.models import LoadedModel
from workers.postprocess import Pixels, postprocess
from workers.upload import upload

log = structlog.get_logger()

_REPORTS_PER_S = 4
_FINISH_FOR_S = 60  # how long to try to write the end of a job down


class Attempt:
    """Runs one claim to its end. Owns the attempt's timings and its progress reports."""

    def __init__(self, claim: Claim, model: LoadedModel, table: JobTable, store: ImageStore) -> None:
        self._claim = claim
        self._model = model
        self._table = table
        self._store = store
        self._last_report = 0.0
        started_at = claim.record.started_at or claim.record.created_at
        self.timings = {"queued": round(started_at - claim.record.created_at, 4)}

    def run(self) -> JobRecord:
        """
        Take the job through its stages and end it, however it goes.

        Raises:
            Fenced: Another attempt owns the job; nothing of this one counts.
        """
        try:
            images = self._make()
        except GenerationFailed as exc:
            return self._fail(exc.code, str(exc))
        except StorageError as exc:
            return self._fail(ErrorCode.STORAGE_UNAVAILABLE, str(exc))
        except JobLeft as exc:
            return self._finish(exc.status)
        except (Fenced, RedisUnavailable):
            raise
        except Exception as exc:
            log.exception("bug in the worker", job_id=self._claim.job_id)
            return self._fail(ErrorCode.GENERATION_ERROR, f"the worker failed: {exc!r}")
        self.timings["total"] = round(sum(self.timings.values()), 4)
        return self._finish(Status.SUCCEEDED, images=[image.model_dump(mode="json") for image in images])

    def _make(self) -> list[ImageRecord]:
        pixels = self._model.device_thread.submit(self._compute).result()
        with self._stage(Stage.POSTPROCESS):
            files = postprocess(pixels, self._claim.spec, self._model.entry)
        with self._stage(Stage.UPLOAD):
            return upload(self._store, self._claim, self._model.entry, files, dict(self.timings))

    def _compute(self) -> list[Pixels]:
        spec = self._claim.spec
        with map_device_errors():
            with self._stage(Stage.ENCODE):
                embeddings = encode(self._model, spec)
            with self._stage(Stage.GENERATE):
                return decode(self._model, generate(self._model, spec, embeddings, self._on_step))

    @contextmanager
    def _stage(self, stage: Stage) -> Iterator[None]:
        steps = self._claim.spec.num_inference_steps if stage is Stage.GENERATE else 0
        self._report(stage, 0, steps)
        started = time.perf_counter()
        yield
        self.timings[stage] = round(time.perf_counter() - started, 4)

    def _on_step(self, step: int, steps: int) -> None:
        if step == steps or time.monotonic() - self._last_report >= 1 / _REPORTS_PER_S:
            self._report(Stage.GENERATE, step, steps)

    def _report(self, stage: Stage, step: int, steps: int) -> None:
        self._last_report = time.monotonic()
        try:
            leave_as = self._table.progress(self._claim, stage, step, steps)
        except RedisUnavailable as exc:  # A report is worth less than the picture.
            log.warning("progress not reported", job_id=self._claim.job_id, reason=str(exc))
            return
        if leave_as is not None:
            raise JobLeft(leave_as)

    def _fail(self, code: ErrorCode, reason: str) -> JobRecord:
        error = {"code": code, "message": reason}
        log.warning("job failed", job_id=self._claim.job_id, code=code, reason=reason)
        return self._finish(Status.FAILED, error=error)

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(RedisUnavailable),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
        stop=tenacity.stop_after_delay(_FINISH_FOR_S),
        reraise=True,
    )
    def _finish(self, status: Status, **result: Any) -> JobRecord:
        return self._table.finish(self._claim, status, timings=self.timings, **result)
