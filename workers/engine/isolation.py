"""
Run a pass so that only the culprit fails.

A forward that fails has changed nothing, so it can be tried again: with fewer rows where memory was short, with half
of the jobs where something else went wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
import torch

from workers.engine.adapter import Adapter, Denoising, OnStep
from workers.engine.errors import is_fatal, is_out_of_memory
from workers.engine.pictures import check_pictures
from workers.runners.postprocess import Pixels

log = structlog.get_logger()

Outcome = list[Any | Exception]


class AllLeft(Exception):
    """Nobody waits for the rest of a pass that is a whole run; what `on_step` raises to end it."""


def predict_each(
    adapter: Adapter[Any], batch: Sequence[Denoising], max_rows: int, on_step: OnStep
) -> tuple[Outcome, int]:
    """
    Predict for a batch whose members may fail.

    Raises:
        AllLeft: As `on_step` raised it.

    Returns:
        For each of the batch a prediction or what went wrong with it alone; and the rows that a forward had in the
        end, less than `max_rows` where memory was short.
    """
    rows = max_rows
    while True:
        try:
            return list(adapter.predict(batch, rows, on_step)), rows
        except AllLeft:
            raise
        except Exception as exc:
            if is_fatal(exc):
                raise
            error = exc
        rows = min(rows, sum(each.rows for each in batch)) // 2
        if not is_out_of_memory(error) or rows == 0:
            break
        _free(error)
        log.warning("out of memory; trying with half of the rows", rows=rows, model=adapter.entry.name)
    if len(batch) == 1:
        return [error], max_rows  # Its own doing: the others may have as many rows as before.
    middle = len(batch) // 2
    halves = [predict_each(adapter, half, max_rows, on_step) for half in (batch[:middle], batch[middle:])]
    return [each for outcome, _ in halves for each in outcome], min(rows for _, rows in halves)


def decode_all(adapter: Adapter[Any], denoising: Denoising) -> list[Pixels]:
    """
    The pictures of a job that is done: all together, or fewer at a time where memory is short for that.

    Raises:
        WrongPictures: They are not what the job asks.
    """
    pixels = _decode(adapter, denoising)
    check_pictures(pixels, denoising.spec, adapter.entry)
    return pixels


def _decode(adapter: Adapter[Any], denoising: Denoising) -> list[Pixels]:
    images = denoising.spec.n
    while True:
        try:
            return adapter.decode(denoising, images)
        except Exception as exc:
            if images == 1 or not is_out_of_memory(exc):
                raise
            error = exc
        images //= 2
        _free(error)
        log.warning("out of memory; decoding half of the images", images=images, model=adapter.entry.name)


def _free(error: Exception) -> None:
    """Give back what the failed forward holds; the frames in its traceback keep activations alive."""
    raised: BaseException | None = error
    while raised is not None:
        raised.__traceback__ = None
        raised = raised.__context__
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
