"""A worker's parts without Celery: a real Redis, a real store that goes away, a simulated device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from jobs.announce.announcer import Announcer
from jobs.announce.celery import PROTOCOL, CeleryResults
from jobs.announce.notifier import Notifier
from jobs.broker.app import make_app
from jobs.broker.dispatch import Dispatcher
from jobs.catalogue.catalogue import Catalogue
from jobs.inputs.files import Files
from jobs.inputs.find import Finder
from jobs.process.settings import Settings
from jobs.redis.connection import connect
from jobs.table.inbox import Inbox
from jobs.table.outbox import Outbox
from jobs.table.table import JobTable
from ops.process import free_port
from storage.backends.s3.settings import S3Settings
from storage.backends.s3.store import S3Store
from storage.inputs import Inputs
from storage.store import Upload
from tests.blackbox.system import simulated
from tests.integration.workers.outside import QUEUE
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


class Store(S3Store):
    """The store, which can go away: then it is one at an address where nobody listens."""

    def __init__(self, there: S3Store) -> None:
        super().__init__(there.settings)
        self._there = there
        self._away = S3Store(S3Settings(endpoint_url=f"http://127.0.0.1:{free_port()}", bucket="none"))
        self.is_away = False
        self.on_put: Callable[[bytes], None] = lambda _body: None

    def put(self, key: str, body: bytes, content_type: str) -> None:
        self.on_put(body)
        (self._away if self.is_away else self._there).put(key, body, content_type)

    def upload(self, key: str, content_type: str) -> Upload:
        return (self._away if self.is_away else self._there).upload(key, content_type)


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
