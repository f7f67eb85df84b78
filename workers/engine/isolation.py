"""
Run a pass so that only the culprit fails.

A forward that fails has changed nothing, so it can be tried again: with fewer rows where memory was short, with half
of the jobs where something else went wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import structlog
import torch

from workers.engine.adapter import Adapter, AnyAdapter, OnStep
from workers.engine.errors import is_fatal, is_out_of_memory
from workers.engine.run import Run

log = structlog.get_logger()

Outcome = list[Any | Exception]

U = TypeVar("U", bound=Run)
R = TypeVar("R")


class AllLeft(Exception):
    """Nobody waits for the rest of a pass that is a whole run; what `on_step` raises to end it."""


def predict_each(adapter: AnyAdapter, batch: Sequence[Run], max_rows: int, on_step: OnStep) -> tuple[Outcome, int]:
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
        rows = min(rows, _widest(adapter, batch)) // 2
        if not is_out_of_memory(error) or rows == 0:
            break
        _free(error)
        log.warning("out of memory; trying with half of the rows", rows=rows, model=adapter.name)
    if len(batch) == 1:
        return [error], max_rows  # Its own doing: the others may have as many rows as before.
    middle = len(batch) // 2
    halves = [predict_each(adapter, half, max_rows, on_step) for half in (batch[:middle], batch[middle:])]
    return [each for outcome, _ in halves for each in outcome], min(rows for _, rows in halves)


def _widest(adapter: AnyAdapter, batch: Sequence[Run]) -> int:
    """Rows that a forward of all had: those of a batch, or more where forwards with few are padded."""
    return max(sum(each.rows for each in batch), *(adapter.fixed_rows(each) or 0 for each in batch))


def finish_all(adapter: Adapter[Any, U, R], run: U) -> R:
    """What a run that is done has made: all of it together, or less at a time where memory is short for that."""
    outputs = run.outputs
    while True:
        try:
            return adapter.finish(run, outputs)
        except Exception as exc:
            if outputs <= 1 or not is_out_of_memory(exc):
                raise
            error = exc
        outputs //= 2
        _free(error)
        log.warning("out of memory; decoding half of the images", images=outputs, model=adapter.name)


def _free(error: Exception) -> None:
    """Give back what the failed forward holds; the frames in its traceback keep activations alive."""
    raised: BaseException | None = error
    while raised is not None:
        raised.__traceback__ = None
        raised = raised.__context__
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
