"""Everything that runs in one worker process beside Celery: what it is made of, and how it starts and stops."""

from __future__ import annotations

import threading
import time

import structlog
from celery import Celery

from jobs.catalogue import Catalogue
from jobs.dispatch import Dispatcher
from jobs.errors import RedisUnavailable
from jobs.exposition import serve_metrics
from jobs.fleet import Fleet, WorkerReport
from jobs.reconcile import Reconciler
from jobs.redis.connection import connect
from jobs.settings import Settings
from jobs.table import JobTable
from jobs.traces import open_traces
from storage.s3 import ImageStore
from storage.settings import load_storage_settings
from workers.context import Context
from workers.delivery import Deliveries
from workers.drain import drain
from workers.gauges import WorkerGauges
from workers.heart import Heart
from workers.leases import LeaseKeeper
from workers.metrics import WorkerMetrics
from workers.progress import ProgressWriter
from workers.recover import recover_spool
from workers.seats import Seats
from workers.settings import WorkerSettings
from workers.spool import Spool, own_folder
from workers.start import ReadyEngine, start_engine

log = structlog.get_logger()


class WorkerProcess:
    """
    One worker.

    Attributes:
        slots: Jobs in hand at a time.
        context: What its tasks share.
    """

    def __init__(self, name: str, app: Celery, settings: Settings, worker_settings: WorkerSettings) -> None:
        """
        Load the models and start all threads.

        Raises:
            InvalidConfiguration: A model cannot be loaded; says which, and why.
            RedisUnavailable: It does not answer.
        """
        client = connect(settings)
        self._name = name
        self._settings = worker_settings
        self._fleet = Fleet(client, settings)
        self._stopping = threading.Event()
        catalogue = Catalogue.read(settings.models_file)
        starting = WorkerReport(
            name=name, state="starting", models=tuple(worker_settings.served(catalogue)), started_at=time.time()
        )
        self._fleet.report(starting)
        metrics = WorkerMetrics(starting.models)
        ready = start_engine(catalogue, worker_settings, metrics.note_pass)
        seats, self.slots = _places(ready, worker_settings)
        log.info("engine ready", jobs_a_pass=ready.jobs_a_pass, seats=seats.count, slots=self.slots)

        table = JobTable(client, settings)
        dispatcher = Dispatcher(app, table, settings)
        report = WorkerReport(
            name=name, state="ready", models=starting.models, slots=self.slots, started_at=starting.started_at
        )
        heart = Heart(self._fleet, ready.engine, seats, report)
        leases = heart.leases = LeaseKeeper(client, table, settings, heart.beat)
        self.context = Context(
            catalogue=catalogue,
            table=table,
            dispatcher=dispatcher,
            store=ImageStore(load_storage_settings()),
            engine=ready.engine,
            served=ready.served,
            seats=seats,
            leases=leases,
            progress=ProgressWriter(table, leases.tell),
            spool=Spool(own_folder(worker_settings.spool_root), worker_settings.spool_mib << 20),
            deliveries=Deliveries(client, settings),
            metrics=metrics,
            traces=open_traces(settings, "imagemill-worker"),
        )
        gauges = WorkerGauges(
            heart=heart,
            slots=self.slots,
            held=lambda: len(leases.held()),
            spool=self.context.spool,
            adapters=ready.adapters,
            device=ready.device,
        )
        metrics.registry.register(gauges)
        serve_metrics(metrics.registry, settings)
        leases.start()
        reconciler = Reconciler(client, dispatcher, settings)
        for work, args in ((reconciler.run, (self._stopping,)), (recover_spool, (self.context, self._stopping))):
            threading.Thread(target=work, args=args, daemon=True).start()

    def drain(self) -> None:
        """Begin to stop; Celery waits for the tasks that run."""
        drain(self.context, self._settings.grace_s)

    def leave(self) -> None:
        """The last thing that a worker does."""
        self._stopping.set()
        if self.context.traces is not None:
            self.context.traces.close()
        try:
            self._fleet.leave(self._name)
        except RedisUnavailable as exc:
            log.warning("worker not signed off", reason=str(exc))


def _places(ready: ReadyEngine, settings: WorkerSettings) -> tuple[Seats, int]:
    """
    How many jobs may be in the engine, and how many in hand.

    A few more than share a pass, so that the next is ready when one leaves, and a few whose files are on their way; no
    more, for another worker may be idle.
    """
    few = max(2, ready.jobs_a_pass // 4)
    seats = ready.jobs_a_pass + few
    slots = settings.concurrency or seats + few
    return Seats(min(seats, slots)), slots
