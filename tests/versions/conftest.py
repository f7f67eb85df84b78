"""
The previous version beside this one.

The file `previous` names the previous version by its full commit. It moves at each release, to the release; and, before
a change of what is kept in Redis or in the store, to the last commit without that change. So what is compared is what
an upgrade meets. A change that no older worker can be run beside says so in CHANGELOG.md, and moves the file with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ops.servers import RedisServer, S3Server
from ops.settings import CHECKOUT
from tests.blackbox.system import simulated
from tests.faults.harness.system import System
from tests.versions.checkouts import HistoryMissing, Version, check_out, is_cut_off, previous_commit
from tests.versions.deployment import Deployment

MODELS = simulated("sim", row_s=0.004, max_n=4) + simulated("idle", row_s=0.004, max_n=4)
ENV = {
    "IMAGEMILL_LEASE_S": "5",
    "IMAGEMILL_RELEASE_WINDOW": "16",  # So that some wait in the table while others are released.
    "IMAGEMILL_METRICS_PORT": "off",
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Version]:
    """Both, by name."""
    folder = tmp_path_factory.mktemp("previous")
    missing = ""
    try:
        check_out(CHECKOUT, previous_commit(), folder)
    except HistoryMissing as exc:
        missing = str(exc)
    if missing and is_cut_off(CHECKOUT):
        pytest.skip(missing)
    if missing:
        pytest.fail(missing, pytrace=False)
    found = (Version(name="previous", checkout=folder), Version(name="present", checkout=CHECKOUT))
    return {each.name: each for each in found}


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both versions share it, as they do on a machine that is upgraded."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def deployment(tmp_path: Path, cache_dir: Path) -> Iterator[Deployment]:
    """Servers of its own for each test."""
    with ExitStack() as cleanup:
        redis_server = cleanup.enter_context(RedisServer(tmp_path / "redis"))
        s3_server = cleanup.enter_context(S3Server(tmp_path / "s3"))
        system = System(tmp_path, redis_server, s3_server, cache_dir, ENV, MODELS)
        cleanup.callback(system.close)
        deployment = Deployment(system)
        cleanup.callback(deployment.close)
        yield deployment


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """The last words of the processes say more about a failed test than its assertion."""
    deployment = getattr(item, "funcargs", {}).get("deployment")
    if call.when == "call" and call.excinfo is not None and isinstance(deployment, Deployment):
        for name, lines in deployment.printed():
            item.add_report_section("call", name, "\n".join(lines[-60:]))
