"""Each test may have a system of its own; what it starts ends with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.blackbox.system import System

MakeSystem = Callable[..., System]


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, so that only the first worker measures."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make_system(tmp_path: Path, cache_dir: Path) -> Iterator[MakeSystem]:
    """Start Redis and S3 with these models and variables: see `System`."""
    with ExitStack() as cleanup:

        def make(models: str | None = None, told: Mapping[str, str] | None = None) -> System:
            return cleanup.enter_context(System(tmp_path, cache_dir, models, told))

        yield make
