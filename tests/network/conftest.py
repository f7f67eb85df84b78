"""Each test has networks and a system of its own; both are gone afterwards, whatever happened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.harness.rows import Row
from tests.network.links import Network, open_network
from tests.network.system import NetworkSystem, RedisOnNetwork, S3OnNetwork


@pytest.fixture
def network() -> Iterator[Network]:
    with open_network() as network:
        yield network


@pytest.fixture
def system(network: Network, tmp_path: Path) -> Iterator[NetworkSystem]:
    redis_server = RedisOnNetwork(tmp_path / "redis", network.redis.address)
    s3_server = S3OnNetwork(tmp_path / "s3", network.s3.address)
    with redis_server, s3_server:
        system = NetworkSystem(network, tmp_path, redis_server, s3_server)
        try:
            yield system
        finally:
            system.close()


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    """The row of the fault table that this test is: its name, as a sentence."""
    return Row(request.node.name.removeprefix("test_").replace("_", " "))


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """A worker's last words say more about a failed test than its assertion."""
    system = getattr(item, "funcargs", {}).get("system")
    if call.when == "call" and call.excinfo is not None and isinstance(system, NetworkSystem):
        for number, worker in enumerate(system.workers):
            item.add_report_section("call", f"worker {number}", "\n".join(worker.lines[-60:]))
