"""Each test of a fault has a system of its own, so that it may break it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ops.servers import RedisServer, S3Server
from tests.faults.harness.rows import Row
from tests.faults.harness.system import System

MakeSystem = Callable[..., System]


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make_system(tmp_path: Path, s3_server: S3Server, cache_dir: Path) -> Iterator[MakeSystem]:
    """Make this test's system; `env` are `IMAGEMILL_*` variables for all of it, `own_s3` a store to break."""
    with ExitStack() as cleanup:

        def make(env: dict[str, str] | None = None, *, own_s3: bool = False) -> System:
            server = cleanup.enter_context(RedisServer(tmp_path / "redis"))
            store = cleanup.enter_context(S3Server(tmp_path / "s3")) if own_s3 else s3_server
            system = System(tmp_path, server, store, cache_dir, env)
            cleanup.callback(system.close)
            return system

        yield make


@pytest.fixture
def system(make_system: MakeSystem) -> System:
    return make_system()


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    """The row of the fault table that this test is: its name, as a sentence."""
    return Row(request.node.name.removeprefix("test_").replace("_", " "))


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """A worker's last words say more about a failed test than its assertion."""
    system = getattr(item, "funcargs", {}).get("system")
    if call.when == "call" and call.excinfo is not None and isinstance(system, System):
        for number, worker in enumerate(system.workers):
            item.add_report_section("call", f"worker {number}", "\n".join(worker.lines[-60:]))
