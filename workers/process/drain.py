"""Stopping in order: the worker takes no job up any more, ends what runs, and gives back what does not end in time."""

from __future__ import annotations

import os
import threading

import structlog
from celery.worker import state

from workers.attempt.context import Context
from workers.attempt.errors import Draining

log = structlog.get_logger()

EX_REFUSED = os.EX_NOPERM  # sysexits.h: the store refuses what the worker makes; a person has to act
EX_BUG = os.EX_SOFTWARE


def drain(context: Context, grace_s: float) -> None:
    """
    Begin to stop; returns at once. Leases are renewed until the process ends.

    Jobs that wait for an engine slot are given back now, those in the engine after `grace_s`.
    """
    log.info("draining", jobs=len(context.leases.held()), grace_s=grace_s)
    context.draining.set()
    context.engine_slots.close()
    timer = threading.Timer(grace_s, _end_all, [context])
    timer.daemon = True
    timer.start()


def leave_with(exit_code: int) -> None:
    """Have Celery stop as it does on SIGTERM, when the tasks that run have ended, with another exit code."""
    state.should_stop = exit_code  # type: ignore[assignment]


def _end_all(context: Context) -> None:
    context.out_of_time.set()
    context.leases.ask_all(Draining("the worker stops"))
