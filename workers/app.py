"""The worker process: `python -m celery -A workers.app worker`, started by `workers.launch`."""

from __future__ import annotations

import sys
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
from workers.models import choose_device, load_models
from workers.settings import load_worker_settings
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
def _load_before_the_first_job(**_: Any) -> None:
    configure_logging()  # Celery does so later than this.
    try:
        register_tasks(app, _context())
    except ImagemillError as exc:
        # The worker must not come up without its models; the parent shows this sentence.
        log.error("worker cannot start", reason=str(exc))
        sys.exit(1)


def _context() -> Context:
    catalogue = Catalogue.read(settings.models_file)
    table = JobTable(connect(settings), settings)
    return Context(
        catalogue=catalogue,
        table=table,
        dispatcher=Dispatcher(app, table, settings),
        store=ImageStore(load_storage_settings()),
        models=load_models(
            catalogue, worker_settings.served(catalogue), choose_device(worker_settings), worker_settings.threads
        ),
    )
