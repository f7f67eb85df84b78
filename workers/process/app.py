"""The worker process: `python -m celery -A workers.process.app worker`, started by `workers.process.parent.launch`."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import structlog
from celery.exceptions import SecurityWarning
from celery.signals import setup_logging, worker_init, worker_ready, worker_shutdown, worker_shutting_down

from jobs.announce.backends import RESULT_BACKENDS
from jobs.broker.app import make_app
from jobs.errors import ImagemillError, InvalidConfiguration
from jobs.names import line_of
from jobs.process.settings import load_settings
from workers.delivery.consumer import SentEvents
from workers.delivery.tasks import register_tasks
from workers.delivery.transport import use_tolerant_transport
from workers.process.control import drain_on_shutdown, keep_to_lines, turn_revoke_into_cancel
from workers.process.logs import configure_logging
from workers.process.parent.supervise import EX_CONFIG
from workers.process.settings import load_worker_settings
from workers.process.worker import WorkerProcess

log = structlog.get_logger()

# It warns of root because pickled messages run code; ours are JSON only.
warnings.filterwarnings("ignore", category=SecurityWarning)

settings = load_settings()
worker_settings = load_worker_settings()
use_tolerant_transport()
app = make_app(settings)
app.conf.worker_consumer = "workers.delivery.consumer:TolerantConsumer"
app.loader.override_backends = RESULT_BACKENDS


@setup_logging.connect
def _log_in_one_form(**_: Any) -> None:
    configure_logging(form=settings.log_format)


@worker_init.connect
def _load_before_the_first_job(sender: Any, **_: Any) -> None:
    configure_logging(form=settings.log_format)  # Celery does so later than this.
    try:
        process = WorkerProcess(sender.hostname, app, settings, worker_settings)
    except InvalidConfiguration as exc:
        # The worker must not come up without its models; the parent shows this sentence, and does not try again.
        log.error("worker cannot start", reason=str(exc))
        sys.exit(EX_CONFIG)
    except ImagemillError as exc:
        log.error("worker cannot start", reason=str(exc))
        sys.exit(1)
    except Exception:
        # Celery goes on after an error in a signal's receiver, and would take messages without having our tasks.
        log.exception("worker cannot start")
        sys.exit(1)
    sender.concurrency = process.slots  # Celery makes its threads later than this.
    # Without those of models that are left out here, or not loaded yet.
    lines = {line_of(each) for each in process.queues if not process.lines.is_closed(each)}
    app.amqp.queues.deselect([each for each in app.amqp.queues.consume_from if each not in lines])
    register_tasks(app, process.context)
    turn_revoke_into_cancel(process.context)
    drain_on_shutdown(process.drain)
    keep_to_lines(process.queues, process.lines)
    worker_ready.connect(lambda sender, **_: process.lines.attach(sender), weak=False)
    worker_ready.connect(lambda sender, **_: _bunch_sent_events(process, sender), weak=False)
    worker_ready.connect(lambda **_: process.note_ready(), weak=False)  # Before Celery says so in the log.
    worker_shutting_down.connect(lambda **_: process.drain(), weak=False)
    worker_shutdown.connect(lambda **_: process.leave(), weak=False)


def _bunch_sent_events(process: WorkerProcess, consumer: Any) -> None:
    process.context.dispatcher.sent_events = SentEvents(consumer)
