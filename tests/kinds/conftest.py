"""One running system for most of these tests, whose processes know two kinds more; and the same kinds in this one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.kinds.registry import KINDS
from jobs.process.settings import Settings
from ops.process import free_port
from producer import Client
from storage.backends.s3.settings import S3Settings
from tests.blackbox.system import BUCKET, System, simulated
from tests.kinds.asking import INPUT, INPUT_KEY
from tests.kinds.count_kind import COUNT
from tests.kinds.sketch_kind import SKETCH

INJECTION = Path(__file__).parent / "injection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where a worker and an API process tell Prometheus."""

    worker: int
    api: int


@pytest.fixture(autouse=True, scope="session")
def _kinds() -> Iterator[None]:
    """The Python client runs here, and its process has to know the kinds, too."""
    added = {kind.name: kind for kind in (SKETCH, COUNT)}
    KINDS.update(added)
    yield
    for name in added:
        del KINDS[name]


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@contextmanager
def a_system(folder: Path, cache_dir: Path, env: Mapping[str, str] | None = None) -> Iterator[System]:
    """Redis, a store with an input in it, and processes that know both kinds; `told` as `System` takes it."""
    path = os.pathsep.join(filter(None, (str(INJECTION), os.environ.get("PYTHONPATH"))))
    own = {
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": "1",
        "COUNT_POISON": str(folder / "poison"),
        "IMAGEMILL_INPUT_OBJECTS": "shared/",
        **(env or {}),
    }
    with System(folder, cache_dir, simulated(row_s=0.005), own) as system:
        stored = system.s3_server.folder / BUCKET / INPUT_KEY
        stored.parent.mkdir(parents=True)
        stored.write_bytes(INPUT)
        yield system


@pytest.fixture(scope="session")
def ports() -> Ports:
    return Ports(worker=free_port(), api=free_port())


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, ports: Ports) -> Iterator[System]:
    """One worker and one API process, which no test breaks."""
    with a_system(tmp_path_factory.mktemp("system"), cache_dir) as system:
        system.serve(env={"IMAGEMILL_METRICS_PORT": str(ports.api)})
        system.worker(env={"IMAGEMILL_METRICS_PORT": str(ports.worker)})
        yield system


@pytest.fixture
def settings(system: System) -> Settings:
    models = Path(system.env["IMAGEMILL_MODELS_FILE"])
    return Settings(redis_url=system.redis_server.url, models_file=models, input_objects=("shared/",))


@pytest.fixture
def storage(system: System) -> S3Settings:
    server = system.s3_server
    return S3Settings(
        endpoint_url=server.endpoint,
        bucket=BUCKET,
        access_key_id=server.access_key_id,
        secret_access_key=server.secret_access_key,
    )


@pytest.fixture
def client(settings: Settings, storage: S3Settings) -> Iterator[Client]:
    with ExitStack() as cleanup:
        client = Client(settings, storage)
        cleanup.callback(client.close)
        yield client
