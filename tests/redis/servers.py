"""Redis as an operator of a fleet has it: behind TLS, and with Sentinels that choose another when it is gone."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import pytest
import redis
import trustme

from ops.process import LOOPBACK, PROBE_TIMEOUT_S, Process
from ops.servers import RedisServer
from tests.faults.harness.waiting import until

MASTER = "pictures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """A CA of this test, and what it signed: for a server on loopback, and for a client."""

    ca: Path
    server: Path
    client: Path

    @classmethod
    def make(cls, folder: Path, name: str = LOOPBACK) -> Certificates:
        """Write them into a folder; the server's is for the host `name`."""
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        for file, common_name in (("server.pem", name), ("client.pem", "imagemill.example")):
            authority.issue_cert(common_name).private_key_and_cert_chain_pem.write_to_path(folder / file)
        return cls(ca=folder / "ca.pem", server=folder / "server.pem", client=folder / "client.pem")

    @property
    def for_server(self) -> list[str]:
        """Options of redis-server."""
        files = ["--tls-cert-file", str(self.server), "--tls-key-file", str(self.server)]
        return [*files, "--tls-ca-cert-file", str(self.ca)]

    @property
    def for_client(self) -> dict[str, Any]:
        """Options of redis-py."""
        client = str(self.client)
        return {"ssl": True, "ssl_ca_certs": str(self.ca), "ssl_certfile": client, "ssl_keyfile": client}

    @property
    def env(self) -> dict[str, str]:
        """`IMAGEMILL_*` variables of whoever trusts this CA."""
        return {"IMAGEMILL_REDIS_TLS_CA_FILE": str(self.ca)}


@cache
def program_with_tls() -> str | None:
    """A redis-server that was built with TLS, if there is one on the PATH."""
    program = shutil.which("redis-server")
    if program is None:
        return None
    asked = subprocess.run([program, "--tls-port", "x"], capture_output=True, text=True, check=False)
    return program if "Bad directive" not in asked.stdout + asked.stderr else None


needs_tls = pytest.mark.skipif(
    program_with_tls() is None, reason="no redis-server with TLS on the PATH (Debian's package redis-server has it)"
)


class ListeningRedis(RedisServer):
    """
    A Redis, behind TLS where it has certificates.

    Args:
        asks_for_ours: Clients need a certificate, too.
        more: Further options of redis-server.
    """

    def __init__(
        self,
        folder: Path,
        certificates: Certificates | None = None,
        *,
        asks_for_ours: bool = False,
        more: Sequence[str] = (),
    ) -> None:
        super().__init__(folder)
        self._certificates = certificates
        self._more = [
            "--repl-diskless-sync-delay",
            "0",
            *more,
            *_tls(certificates, self.port or 0, "yes" if asks_for_ours else "no"),
        ]

    @property
    def url(self) -> str:
        """For clients; database 0."""
        return f"redis{'s' if self._certificates else ''}://{LOOPBACK}:{self.port}/0"

    def command(self) -> list[str]:
        """The wheel's server, or one with TLS."""
        program, *options = super().command()
        return [program_with_tls() or program if self._certificates else program, *options, *self._more]

    def is_ready(self) -> bool:
        """Whether it answers a ping."""
        return answers(self.port or 0, self._certificates)


class SentinelServer(Process):
    """One Sentinel, which takes a Redis that is silent for a second for gone."""

    def __init__(self, folder: Path, primary_port: int, certificates: Certificates | None = None) -> None:
        super().__init__("sentinel", port=0)
        self._folder, self._primary_port, self._certificates = folder, primary_port, certificates

    def command(self) -> list[str]:
        """It keeps what it learns in its own configuration file."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / "sentinel.conf"
        if not file.exists():
            file.write_text(
                f"bind {LOOPBACK}\nport {self.port}\ndir {self._folder}\n"
                f"sentinel monitor {MASTER} {LOOPBACK} {self._primary_port} 2\n"
                f"sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 3000\n"
            )
        program = RedisServer(self._folder).command()[0]
        if self._certificates:
            program = program_with_tls() or program
        return [program, str(file), "--sentinel", *_tls(self._certificates, self.port or 0, "no")]

    def is_ready(self) -> bool:
        """Whether it answers a ping."""
        return answers(self.port or 0, self._certificates)


class Cluster:
    """A Redis, one that follows it, and three Sentinels. A context manager; owns all of their processes."""

    def __init__(self, folder: Path, certificates: Certificates | None = None) -> None:
        self.certificates = certificates
        primary = ListeningRedis(folder / "0", certificates)
        follow = ["--replicaof", f"{LOOPBACK} {primary.port}"]
        self.redises = [primary, ListeningRedis(folder / "1", certificates, more=follow)]
        self.sentinels = [
            SentinelServer(folder / f"sentinel-{each}", primary.port or 0, certificates) for each in range(3)
        ]
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """All Sentinels, as a user writes them."""
        hosts = ",".join(f"{LOOPBACK}:{each.port}" for each in self.sentinels)
        return f"sentinel{'s' if self.certificates else ''}://{hosts}/0"

    @property
    def env(self) -> dict[str, str]:
        """`IMAGEMILL_*` variables that lead here."""
        urls = {"IMAGEMILL_REDIS_URL": self.url, "IMAGEMILL_RESULT_BACKEND_URL": self.url}
        return urls | {"IMAGEMILL_REDIS_SENTINEL_MASTER": MASTER} | (self.certificates.env if self.certificates else {})

    def client(self, port: int | None) -> redis.Redis:
        """Of one process of it."""
        return client(port or 0, self.certificates)

    def primary_port(self) -> int:
        """Of the Redis that most Sentinels name now."""
        ports = [self._named_by(each) for each in self.sentinels]
        return max(set(ports), key=ports.count)

    def primary(self) -> ListeningRedis:
        """That Redis."""
        port = self.primary_port()
        return next(each for each in self.redises if each.port == port)

    def is_whole(self) -> bool:
        """Whether the replica follows, and every Sentinel knows it and the other Sentinels."""
        with self.client(self.primary_port()) as primary:
            state = primary.info("replication")
            followers = [state.get(f"slave{each}", {}) for each in range(len(self.redises) - 1)]
            if any(each.get("state") != "online" for each in followers):
                return False
        for each in self.sentinels:
            with self.client(each.port) as sentinel:
                state = sentinel.sentinel_master(MASTER)
            if (state["num-slaves"], state["num-other-sentinels"]) != (len(self.redises) - 1, len(self.sentinels) - 1):
                return False
        return True

    def _named_by(self, sentinel: SentinelServer) -> int:
        with self.client(sentinel.port) as asked:
            return int(asked.sentinel_get_master_addr_by_name(MASTER)[1])

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for each in (*self.redises, *self.sentinels):
                stack.enter_context(each)
            until("the Sentinels know each other and both Redises", self.is_whole)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def client(port: int, certificates: Certificates | None) -> redis.Redis:
    """A plain client of a server on loopback, for the test itself."""
    options: dict[str, Any] = certificates.for_client if certificates else {}
    options |= {"socket_timeout": PROBE_TIMEOUT_S, "socket_connect_timeout": PROBE_TIMEOUT_S}
    return redis.Redis(LOOPBACK, port, decode_responses=True, **options)


def answers(port: int, certificates: Certificates | None) -> bool:
    """Whether a server on loopback answers a ping."""
    try:
        with client(port, certificates) as asked:
            return bool(asked.ping())
    except redis.exceptions.RedisError:
        return False


def _tls(certificates: Certificates | None, port: int, auth_clients: str) -> list[str]:
    if certificates is None:
        return []
    listen = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", auth_clients, "--tls-replication", "yes"]
    return [*listen, *certificates.for_server]
