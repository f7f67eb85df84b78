"""The worker process: `python -m celery -A workers.app worker`, started by `workers.launch`."""

from __future__ import annotations

import sys
import threading
import warnings
from typing import Any

import structlog
from celery.exceptions import SecurityWarning
from celery.signals import setup_logging, worker_init

from jobs.catalogue import Catalogue
from jobs.celery_app import make_app
from jobs.connection import connect
from jobs.dispatch import Dispatcher
from jobs.errors import ImagemillError
from jobs.settings import load_settings
from jobs.table import JobTable
from storage.s3 import ImageStore
from storage.settings import load_storage_settings
from workers.consumer import use_tolerant_transport
from workers.context import Context
from workers.logs import configure_logging
from workers.progress import ProgressWriter
from workers.settings import load_worker_settings
from workers.start import ReadyEngine, start_engine
from workers.tasks import register_tasks

log = structlog.get_logger()

# It warns of root because pickled messages run code; ours are JSON only.
warnings.filterwarnings("ignore", category=SecurityWarning)

settings = load_settings()
worker_settings = load_worker_settings()
use_tolerant_transport()
app = make_app(settings)
app.conf.worker_consumer = "workers.consumer:TolerantConsumer"


@setup_logging.connect
def _log_in_one_form(**_: Any) -> None:
    configure_logging()


@worker_init.connect
def _load_before_the_first_job(sender: Any, **_: Any) -> None:
    configure_logging()  # Celery does so later than this.
    try:
        catalogue = Catalogue.read(settings.models_file)
        ready = start_engine(catalogue, worker_settings)
    except ImagemillError as exc:
        # The worker must not come up without its models; the parent shows this sentence.
        log.error("worker cannot start", reason=str(exc))
        sys.exit(1)
    seats, slots = _places(ready.jobs_a_pass)
    sender.concurrency = slots  # Celery makes its threads later than this.
    log.info("engine ready", jobs_a_pass=ready.jobs_a_pass, seats=seats, slots=slots)
    register_tasks(app, _context(catalogue, ready, seats))


def _places(jobs_a_pass: int) -> tuple[int, int]:
    """
    How many jobs may be in the engine, and how many in hand.

    A few more than share a pass, so that the next is ready when one leaves, and a few whose files are on their way; no
    more, for another worker may be idle.
    """
    seats = jobs_a_pass + max(2, jobs_a_pass // 4)
    slots = worker_settings.concurrency or seats + max(2, jobs_a_pass // 4)
    return min(seats, slots), slots


def _context(catalogue: Catalogue, ready: ReadyEngine, seats: int) -> Context:
    table = JobTable(connect(settings), settings)
    return Context(
        catalogue=catalogue,
        table=table,
        dispatcher=Dispatcher(app, table, settings),
        store=ImageStore(load_storage_settings()),
        engine=ready.engine,
        served=ready.served,
        seats=threading.BoundedSemaphore(seats),
        progress=ProgressWriter(table),
    )
