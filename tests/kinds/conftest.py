"""One running system for most of these tests, whose processes know two kinds more; and the same kinds in this one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from jobs.kinds.registry import KINDS
from tests.blackbox.system import BUCKET, System, simulated
from tests.kinds.count_kind import COUNT
from tests.kinds.sketch_kind import SKETCH

INJECTION = Path(__file__).parent / "injection"
INPUT_KEY = "inputs/after.bin"
INPUT = b"what to draw after"

MakeSystem = Callable[..., System]


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


def _make(folder: Path, cache_dir: Path, told: Mapping[str, str] | None, cleanup: ExitStack) -> System:
    path = os.pathsep.join(filter(None, (str(INJECTION), os.environ.get("PYTHONPATH"))))
    told = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", **(told or {})}
    system = cleanup.enter_context(System(folder, cache_dir, simulated(row_s=0.01), told))
    key = system.s3_server.folder / BUCKET / INPUT_KEY
    key.parent.mkdir(parents=True)
    key.write_bytes(INPUT)
    return system


@pytest.fixture
def make_system(tmp_path: Path, cache_dir: Path) -> Iterator[MakeSystem]:
    """A system of the test's own, to break; `told` as `System` takes it."""
    with ExitStack() as cleanup:
        yield lambda told=None: _make(tmp_path, cache_dir, told, cleanup)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[System]:
    """One worker and one API process, which no test breaks."""
    with ExitStack() as cleanup:
        system = _make(tmp_path_factory.mktemp("system"), cache_dir, None, cleanup)
        system.serve()
        system.worker()
        yield system
