"""One running system for all senders: they are as many as they like, and none is to be held up by another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.system import System, simulated


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder: Path = tmp_path_factory.mktemp("system")
    with System(folder, folder / "cache", simulated(launch_s=0.02, row_s=0.001)) as system:
        system.serve()
        system.worker()
        yield system
