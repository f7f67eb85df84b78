"""A worker's parts without Celery: a real Redis, a real store that goes away, a simulated device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery

from jobs import names
from jobs.announce.announcer import Announcer
from jobs.announce.celery import PROTOCOL, CeleryResults
from jobs.announce.notifier import Notifier
from jobs.broker.app import make_app
from jobs.broker.dispatch import Dispatcher
from jobs.broker.reconcile import Reconciler
from jobs.catalogue.catalogue import Catalogue
from jobs.deletions.deleter import Deleter
from jobs.deletions.deletions import Deletions
from jobs.inputs.files import Files
from jobs.inputs.find import Finder
from jobs.process.settings import Settings
from jobs.redis.connection import connect
from jobs.table.inbox import Inbox
from jobs.table.outbox import Outbox
from jobs.table.queues import QueueControl
from jobs.table.table import JobTable
from storage.backends.s3.store import S3Store
from storage.deletion import JobObjects
from storage.inputs import Inputs
from tests.blackbox.system import simulated
from tests.integration.workers.house import House
from tests.integration.workers.outside import QUEUE
from tests.integration.workers.stores import Store
from workers.attempt.context import Context
from workers.attempt.engine_slots import EngineSlots
from workers.attempt.leases import LeaseKeeper
from workers.attempt.memory import MemoryBudget
from workers.attempt.progress import ProgressWriter
from workers.attempt.spool import Spool
from workers.delivery.adoption import Adoption
from workers.engine.capacity import Capacity
from workers.engine.engine import Engine
from workers.families.simulated import DeviceTimes, SimulatedModel


@pytest.fixture
def own_store(store: S3Store) -> Store:
    return Store(store)


@pytest.fixture
def context(redis_client: redis.Redis, settings: Settings, own_store: Store, tmp_path: Path) -> Iterator[Context]:
    models = tmp_path / "models.toml"
    models.write_text(simulated(row_s=0.0), "utf-8")
    settings = settings.model_copy(update={"models_file": models})
    catalogue = Catalogue.read(models)
    entry = catalogue.models["sim"]
    engine = Engine({"sim": SimulatedModel(entry, DeviceTimes(launch_s=0.0, row_s=0.0))}, Capacity())
    engine.start()
    table = JobTable(redis_client, settings)
    leases = LeaseKeeper(redis_client, table, settings, lambda: True)
    progress = ProgressWriter(table, leases.deliver)
    yield Context(
        name="worker@here",
        catalogue=catalogue,
        table=table,
        dispatcher=Dispatcher(make_app(settings), table, settings),
        announcer=Announcer(redis_client, settings),
        store=own_store,
        finder=Finder(
            settings,
            table=table,
            files=Files(redis_client, settings),
            objects=own_store,
            files_in_store=Inputs(own_store),
        ),
        engine=engine,
        served=frozenset({"sim"}),
        engine_slots=EngineSlots(4),
        leases=leases,
        progress=progress,
        spool=Spool(tmp_path / "spool", 1 << 20),
        memory=MemoryBudget(1 << 28),
        input_memory=MemoryBudget(1 << 28),
        stop_refused=lambda exc: pytest.fail(str(exc)),
    )
    progress.stop()
    engine.stop()


@pytest.fixture
def raw_client(settings: Settings) -> Iterator[redis.Redis]:
    """Leaves bytes as they are."""
    with connect(settings, decodes=False) as client:
        yield client


@pytest.fixture
def adoption(context: Context, raw_client: redis.Redis, settings: Settings) -> Adoption:
    return Adoption(context, Inbox(raw_client, settings, [QUEUE]))


@pytest.fixture
def notifier(redis_client: redis.Redis, settings: Settings) -> Notifier:
    return Notifier(Outbox(redis_client, settings, PROTOCOL), PROTOCOL, CeleryResults(settings).notify)


@pytest.fixture
def house(
    context: Context,
    adoption: Adoption,
    notifier: Notifier,
    sender: Celery,
    own_store: Store,
    redis_client: redis.Redis,
    raw_client: redis.Redis,
    settings: Settings,
) -> House:
    if left := [each.key for each in own_store.objects()]:  # What other tests have left must not be found here.
        own_store.delete_many(left)
    deletions = Deletions(redis_client, settings)
    reconciler = Reconciler(redis_client, context.dispatcher, settings)
    reconciler.run_once()
    redis_client.hset(names.SERVER, "hold_until", 0)
    return House(
        context=context,
        adoption=adoption,
        notifier=notifier,
        sender=sender,
        store=own_store,
        client=redis_client,
        raw=raw_client,
        deletions=deletions,
        deleter=Deleter(deletions, settings, JobObjects(own_store).delete),
        reconciler=reconciler,
        control=QueueControl(redis_client, context.table, context.dispatcher.offer, settings),
        settings=settings,
    )
