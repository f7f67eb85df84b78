"""The log lines of a worker, Celery's included."""

from __future__ import annotations

import logging

from jobs.process import logs


def configure_logging(level: int = logging.INFO, form: logs.LogFormat = "text") -> None:
    """Send all of them to stderr in one form, and none that has arguments or results of tasks."""
    logs.configure_logging(level, form)
    # They print arguments and results, prompts among them; the tasks log each job themselves.
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)
