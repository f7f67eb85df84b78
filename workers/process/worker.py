"""Everything that runs in one worker process beside Celery: what it is made of, and how it starts and stops."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import redis
import structlog
from celery import Celery

from jobs.announce.announcer import Announcer
from jobs.broker.dispatch import Dispatcher
from jobs.broker.reconcile import Reconciler
from jobs.catalogue.catalogue import Catalogue
from jobs.deletions.deleter import Deleter
from jobs.deletions.deletions import Deletions
from jobs.errors import RedisUnavailable
from jobs.fleet.fleet import Fleet, WorkerReport
from jobs.fleet.loads import Loads
from jobs.fleet.serving import Serving
from jobs.inputs.files import Files
from jobs.inputs.find import Finder
from jobs.inputs.sent import SentInputs
from jobs.kinds.registry import kinds_without_model
from jobs.process.exposition import serve_metrics
from jobs.process.settings import Settings
from jobs.process.traces import open_traces
from jobs.redis.connection import connect
from jobs.table.figures import FigureReader
from jobs.table.inbox import Inbox
from jobs.table.table import JobTable
from storage.deletion import JobObjects
from storage.errors import StorageMisconfigured
from storage.inputs import Inputs
from storage.registry import open_store
from workers.attempt.context import Context
from workers.attempt.engine_slots import EngineSlots
from workers.attempt.leases import LeaseKeeper
from workers.attempt.memory import MemoryBudget
from workers.attempt.metrics import WorkerMetrics
from workers.attempt.progress import ProgressWriter
from workers.attempt.recover import Recovery, drop_ended
from workers.attempt.residents import Residents
from workers.attempt.spool import Spool, own_folder
from workers.attempt.vital import run_vital
from workers.attempt.watched_jobs import WatchedJobs
from workers.delivery.adoption import Adoption
from workers.process.devices.own import place
from workers.process.drain import EX_BUG, EX_REFUSED, drain, leave_with
from workers.process.reports.gauges import WorkerGauges
from workers.process.reports.heartbeat import Heartbeat, failure_listed, reported_while_starting
from workers.process.reports.intake import Intake
from workers.process.residency.budget import Budget
from workers.process.residency.lines import ReadLines
from workers.process.residency.swapper import Swapper
from workers.process.settings import WorkerSettings
from workers.process.start import ReadyEngine, start_engine
from workers.runners.signing import PictureSigner

log = structlog.get_logger()

_TELLING_S = 10.0  # that a worker which ends waits for what it is telling


class WorkerProcess:
    """
    One worker.

    Attributes:
        slots: Jobs in hand at a time.
        lines: Which lines of its queues are read.
        context: What its tasks share.
        queues: Whose jobs it takes.
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
        self._swapper: Swapper | None = None
        catalogue = Catalogue.read(settings.models_file)
        signer = PictureSigner(each) if (each := worker_settings.certificate) else None
        starting = _first_report(name, self._fleet, catalogue, worker_settings)
        with reported_while_starting(self._fleet, starting, settings.lease_s / 4) as starting:
            metrics = WorkerMetrics(starting.models)
            ready = start_engine(catalogue, worker_settings, metrics.note_pass)
            engine_slots, self.slots = _places(ready, worker_settings)
            self.lines = ReadLines(ready.served, closed=ready.served - ready.adapters.keys())
            log.info("engine ready", jobs_a_pass=ready.jobs_a_pass, engine_slots=engine_slots.count, slots=self.slots)

            table = JobTable(client, settings)
            dispatcher = Dispatcher(app, table, settings)
            store = open_store()
            files, inputs = Files(client, settings), Inputs(store)
            finder = Finder(settings, table=table, files=files, objects=store, files_in_store=inputs)
            report = replace(starting, state="ready", slots=self.slots)
            heartbeat = self._heartbeat = Heartbeat(self._fleet, ready.engine, engine_slots, report)
            watched_jobs = WatchedJobs(name)
            leases = heartbeat.leases = LeaseKeeper(
                client, table, settings, heartbeat.beat, self._stop_broken, watched_jobs
            )
            self.context = Context(
                name=name,
                catalogue=catalogue,
                table=table,
                dispatcher=dispatcher,
                announcer=Announcer(client, settings),
                store=store,
                finder=finder,
                engine=ready.engine,
                served=ready.served,
                residents=Residents(ready.adapters if ready.budget else None, self._note_use),
                engine_slots=engine_slots,
                leases=leases,
                progress=ProgressWriter(table, leases.deliver, self._stop_broken, watched_jobs),
                spool=Spool(own_folder(worker_settings.spool_root), worker_settings.spool_mib << 20),
                memory=MemoryBudget(worker_settings.postprocess_mib << 20),
                input_memory=MemoryBudget(worker_settings.inputs_mib << 20),
                stop_refused=self._stop_refused,
                signer=signer,
                metrics=metrics,
                traces=open_traces(settings, "imagemill-worker"),
            )
            gauges = WorkerGauges(
                heartbeat=heartbeat,
                slots=self.slots,
                held=lambda: len(leases.held()),
                spool=self.context.spool,
                adapters=ready.adapters,
                served=ready.served,
                device=ready.device,
            )
            metrics.registry.register(gauges)
            serve_metrics(metrics.registry, settings)
        leases.start()
        self.context.announcer.start()
        reconciler = Reconciler(client, dispatcher, settings)
        inbox = Inbox(connect(settings, decodes=False), settings, report.queues)
        adoption = Adoption(self.context, inbox, Serving(self._fleet, settings))
        self.queues = report.queues
        heartbeat.intake = Intake(self.queues, adoption, self.lines)
        vital = {"adoption": adoption.run}
        if ready.budget is not None:
            self._swapper = self._swapper_of(ready, ready.budget, client, settings)
            heartbeat.resident = self._with_residents
            vital["swapper"] = self._swapper.run
        for thread, endless in vital.items():
            args = (thread, endless, self.context.draining, self._stop_broken)
            threading.Thread(target=run_vital, args=args, name=thread, daemon=True).start()
        recovery = Recovery(self.context)
        self._recovery = threading.Thread(target=recovery.run, name="recovery", daemon=True)
        self._recovery.start()
        deleter = Deleter(
            Deletions(client, settings),
            settings,
            JobObjects(self.context.store).delete,
            SentInputs(files, inputs).forget,
            each_pass=lambda: drop_ended(self.context),
        )
        for loop, run in {"reconciler": reconciler.run, "deleter": deleter.run}.items():
            threading.Thread(target=run, args=(self._stopping,), name=loop, daemon=True).start()

    def _swapper_of(self, ready: ReadyEngine, budget: Budget, client: redis.Redis, settings: Settings) -> Swapper:
        log.info("models are loaded when jobs wait for them", room_gb=budget.room_gb, loaded=list(ready.adapters))
        return Swapper(
            name=self._name,
            budget=budget,
            loader=ready.loader,
            residents=self.context.residents,
            lines=self.lines,
            figures=FigureReader(client, settings),
            fleet=self._fleet,
            loads=Loads(client, settings, self._name),
            metrics=self.context.metrics,
            on_change=self._heartbeat.report_now,
            look_again=self.context.engine_slots.look_again,
            stopping=self.context.draining,
            unload_idle_s=self._settings.unload_idle_s,
        )

    def _with_residents(self, report: WorkerReport) -> WorkerReport:
        assert self._swapper is not None  # noqa: S101 - it is what makes this be asked
        failures = self._swapper.failures
        return replace(
            report,
            models=tuple(each for each in report.models if each not in failures),
            loaded=tuple(self.context.residents.used_at()),
            not_loaded=failures,
        )

    def _note_use(self, model: str) -> None:
        if self._swapper is not None:
            self._swapper.demand.note(model, time.monotonic())

    def note_ready(self) -> None:
        """Celery takes jobs from now on: a job submitted at once gets no warning that no worker serves it."""
        self._heartbeat.report_now()

    def drain(self) -> None:
        """Begin to stop, once; Celery waits for the tasks that run."""
        if not self.context.draining.is_set():
            drain(self.context, self._settings.grace_s)

    def _stop_refused(self, exc: StorageMisconfigured) -> None:
        """Stop taking jobs: what this worker makes, nobody can store until a person has acted."""
        log.error("stopping: the store refuses what this worker makes", exit_code=EX_REFUSED, reason=str(exc))
        self.drain()
        leave_with(EX_REFUSED)

    def _stop_broken(self) -> None:
        self.drain()
        leave_with(EX_BUG)

    def leave(self) -> None:
        """The last thing that a worker does."""
        self.drain()  # Where something else than a signal ended Celery.
        self._recovery.join()  # It gives back what it holds when the grace is over.
        self._stopping.set()
        self.context.announcer.stop(_TELLING_S)
        self.context.traces.close()
        try:
            self._fleet.leave(self._name)
        except RedisUnavailable as exc:
            log.warning("worker not signed off", reason=str(exc))


def _first_report(name: str, fleet: Fleet, catalogue: Catalogue, settings: WorkerSettings) -> WorkerReport:
    kinds, models = tuple(kinds_without_model()), tuple(settings.served(catalogue))
    report = WorkerReport(name=name, state="starting", models=models, kinds=kinds, started_at=time.time())
    with failure_listed(fleet, report):
        placement = place(catalogue, settings)
    if placement.left_out:
        log.warning("models left out: they are too large for this device", reason=placement.why)
    return replace(
        report,
        models=placement.models,
        left_out=placement.left_out,
        device=placement.name,
        device_memory_gb=placement.memory_gb or 0.0,
    )


def _places(ready: ReadyEngine, settings: WorkerSettings) -> tuple[EngineSlots, int]:
    """
    How many jobs may be in the engine, and how many in hand.

    A few more than share a pass, so that the next is ready when one leaves, and a few whose files are on their way; no
    more, for another worker may be idle.
    """
    few = max(2, ready.jobs_a_pass // 4)
    engine_slots = ready.jobs_a_pass + few
    slots = settings.concurrency or engine_slots + few
    return EngineSlots(min(engine_slots, slots)), slots
