"""Everything that a process submits and asks with, made once: the connections, and the parts that use them, by name."""

from __future__ import annotations

from dataclasses import dataclass

import redis
from celery import Celery

from jobs.announce.revoking import Revoking
from jobs.broker.app import make_app
from jobs.broker.dispatch import Dispatcher
from jobs.catalogue.catalogue import Catalogue
from jobs.deletions.deletions import Deletions
from jobs.fleet.fleet import Fleet
from jobs.fleet.serving import Serving
from jobs.inputs.files import Files
from jobs.inputs.find import Finder
from jobs.process.settings import Settings, load_settings
from jobs.redis.connection import connect
from jobs.table.batches import Batches
from jobs.table.queues import QueueControl
from jobs.table.table import JobTable
from producer.client.submitter import Submitter
from producer.client.traces import SubmitTraces
from storage.inputs import Inputs
from storage.registry import open_store
from storage.settings import StorageSettings
from storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """
    The parts of one process; all its threads may use them. Code that needs one of them takes it from here.

    Attributes:
        redis: The connections that all of them share.
        broker: Celery, which carries the messages of released jobs.
        table: What can be asked of jobs, and what changes them.
        dispatcher: Sends the messages of what a change of the table has released.
        files: The table of uploaded files.
        inputs: Where these lie in the store.
        control: What an operator does with whole queues, and with the dead.
        batches: Many jobs that are counted and canceled as one.
        deletions: What deletes results.
        fleet: Which workers there are.
        traces: The first span of each job.
        submitter: The way of a request into the table.
    """

    settings: Settings
    redis: redis.Redis
    broker: Celery
    catalogue: Catalogue
    table: JobTable
    dispatcher: Dispatcher
    store: Store
    files: Files
    inputs: Inputs
    control: QueueControl
    batches: Batches
    deletions: Deletions
    fleet: Fleet
    traces: SubmitTraces
    submitter: Submitter

    def close(self) -> None:
        """Close the connections to Redis; the next call opens new ones."""
        self.redis.close()
        self.broker.close()
        self.traces.close()


def open_parts(settings: Settings | None = None, storage: StorageSettings | None = None) -> Parts:
    """
    Make the parts. Nothing is connected before its first call.

    Args:
        settings: Of the job table; read from the environment if None.
        storage: Of the image store; likewise.

    Raises:
        InvalidConfiguration: Settings or models cannot be read.
    """
    settings = settings or load_settings()
    catalogue = Catalogue.read(settings.models_file)
    client = connect(settings)
    table = JobTable(client, settings)
    broker = make_app(settings)
    dispatcher = Dispatcher(broker, table, settings)
    traces = SubmitTraces(settings)
    store = open_store(storage)
    files, inputs = Files(client, settings), Inputs(store)
    finder = Finder(settings, table=table, files=files, objects=store, files_in_store=inputs)
    revoking = Revoking(table, dispatcher.offer, settings)
    return Parts(
        settings=settings,
        redis=client,
        broker=broker,
        catalogue=catalogue,
        table=table,
        dispatcher=dispatcher,
        store=store,
        files=files,
        inputs=inputs,
        control=QueueControl(client, table, dispatcher.offer, settings, revoking),
        batches=Batches(client, table, dispatcher.offer, settings),
        deletions=Deletions(client, settings),
        fleet=Fleet(client, settings),
        traces=traces,
        submitter=Submitter(catalogue, table, dispatcher.offer, traces, Serving(table.fleet, settings), finder),
    )
