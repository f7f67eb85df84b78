"""The running system on several hosts: servers on this machine's two addresses, each worker on a host of its own."""

from __future__ import annotations

import http.client
from collections.abc import Mapping, Sequence
from pathlib import Path

import redis

from ops.process import LOOPBACK, PROBE_TIMEOUT_S
from ops.servers import RedisServer, S3Server
from tests.faults.harness.system import QUEUE, System
from tests.faults.harness.worker import Faults, WorkerUnderTest, with_faults
from tests.network.links import Host, Network

PASSWORD = "not that of a real one"


class RedisOnNetwork(RedisServer):
    """On an address that others reach, so behind a password."""

    def __init__(self, folder: Path, address: str) -> None:
        super().__init__(folder)
        self.address = address

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD.replace(' ', '%20')}@{self.address}:{self.port}/0"

    def command(self) -> list[str]:
        return [self.address if word == LOOPBACK else word for word in super().command()] + ["--requirepass", PASSWORD]


class S3OnNetwork(S3Server):
    """On an address that others reach."""

    def __init__(self, folder: Path, address: str) -> None:
        super().__init__(folder)
        self.address = address

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}:{self.port}"

    def command(self) -> list[str]:
        return [word.replace(LOOPBACK, self.address) for word in super().command()]

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection(self.address, self.port, timeout=PROBE_TIMEOUT_S)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True


class WorkerOnHost(WorkerUnderTest):
    """`./imagemill worker` on a host of its own."""

    def __init__(self, host: Host, env: Mapping[str, str], *, queues: Sequence[str]) -> None:
        super().__init__(env, queues=queues)
        self.host = host

    def command(self) -> list[str]:
        return self.host.command(super().command())


class NetworkSystem(System):
    """As the fault suite's, its workers elsewhere."""

    def __init__(self, network: Network, folder: Path, redis_server: RedisServer, s3_server: S3Server) -> None:
        env = {"IMAGEMILL_LEASE_S": "5", "NO_PROXY": "*", "no_proxy": "*"}
        super().__init__(folder, redis_server, s3_server, folder / "cache", env)
        self.network = network

    def worker_on(self, host: Host, faults: Faults | None = None, env: Mapping[str, str] | None = None) -> WorkerOnHost:
        """Start a worker there; wait with `ready`."""
        env = with_faults(self.env | dict(env or {}), faults, self.evidence_file)
        worker = WorkerOnHost(host, env, queues=[QUEUE])
        worker.start()
        self.workers.append(worker)
        return worker

    def connections_of(self, host: Host) -> list[str]:
        """Ids of the connections that Redis has of a host."""
        address = host.address_in(self.network.redis)
        found: list[dict[str, str]] = self.redis.client_list()
        return [each["id"] for each in found if each["addr"].rpartition(":")[0] == address]

    def forget_connections_of(self, host: Host) -> int:
        """Close them at Redis' end, as its own keepalive or a firewall does in time; returns how many there were."""
        ids = self.connections_of(host)
        for each in ids:
            try:
                self.redis.client_kill_filter(_id=each)
            except redis.exceptions.ResponseError:  # It went by itself.
                continue
        return len(ids)
