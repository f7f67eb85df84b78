"""Each test may have a system of its own; what it starts ends with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.blackbox.system import System, simulated

MakeSystem = Callable[..., System]

_SYSTEMS = pytest.StashKey[list[System]]()


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, so that only the first worker measures."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make_system(request: pytest.FixtureRequest, tmp_path: Path, cache_dir: Path) -> Iterator[MakeSystem]:
    """Start Redis and S3 with these models and variables: see `System`."""
    with ExitStack() as cleanup:

        def make(models: str | None = None, env: Mapping[str, str] | None = None) -> System:
            system = cleanup.enter_context(System(tmp_path, cache_dir, models, env))
            request.node.stash.setdefault(_SYSTEMS, []).append(system)
            return system

        yield make


@pytest.fixture
def system(make_system: MakeSystem) -> System:
    """An API process with a simulated model, and no worker."""
    system = make_system(simulated())
    system.serve()
    return system


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """What its processes said last says more about a failed test than its assertion."""
    if call.when == "call" and call.excinfo is not None:
        shared = getattr(getattr(item, "funcargs", {}).get("calm"), "system", None)
        for system in [*item.stash.get(_SYSTEMS, []), *([shared] if shared else [])]:
            for number, command in enumerate(system.commands):
                item.add_report_section("call", f"{number}: {command.name}", "\n".join(command.lines[-60:]))
