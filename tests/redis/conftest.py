"""A running system whose Redis is behind TLS, Sentinels, or both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ops.servers import S3Server
from tests.faults.harness.system import System
from tests.redis.servers import Certificates, Cluster, ListeningRedis

Behind = Callable[[str], tuple[System, Cluster | None]]


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def behind(tmp_path: Path, s3_server: S3Server, cache_dir: Path) -> Iterator[Behind]:
    """Make this test's system, behind "tls", "sentinels", or "sentinels with tls"; and its cluster, if it has one."""
    with ExitStack() as cleanup:

        def make(door: str) -> tuple[System, Cluster | None]:
            certificates = Certificates.make(tmp_path / "certificates") if "tls" in door else None
            if "sentinels" not in door:
                server = cleanup.enter_context(ListeningRedis(tmp_path / "redis", certificates))
                env, cluster = certificates.env if certificates else {}, None
            else:
                cluster = cleanup.enter_context(Cluster(tmp_path / "cluster", certificates))
                server, env = cluster.redises[0], cluster.env
            system = System(tmp_path, server, s3_server, cache_dir, env)
            cleanup.callback(system.close)
            return system, cluster

        yield make
