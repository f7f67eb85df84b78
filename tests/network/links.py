"""
Hosts of their own on one machine: network namespaces, each with an address on two networks, one for Redis, one for S3.

Taking a host's port out of a network's bridge is pulling a cable at the switch: what either side sends is lost, and
nobody is told.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

_MAC = "02:00:00:00:{id:02x}:01"  # A bridge without one takes a port's, and then answers for it.
_ID = os.getpid() % 250 + 1
_NAME = f"imagemill-{_ID}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """
    One network: a bridge, which is also this machine's own port in it.

    Attributes:
        bridge: Its name; at most 15 characters.
        prefix: The first three numbers of its addresses, which are set aside for tests (RFC 2544).
    """

    bridge: str
    prefix: str

    @property
    def address(self) -> str:
        """This machine's, for servers."""
        return f"{self.prefix}.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """
    A network namespace.

    Attributes:
        name: Of the namespace.
        number: The last number of its addresses.
    """

    name: str
    number: int

    def address_in(self, net: Net) -> str:
        """Its address there."""
        return f"{net.prefix}.{self.number}"

    def port_in(self, net: Net) -> str:
        """Name of its cable's end at the bridge."""
        return f"{net.bridge}p{self.number}"

    def command(self, command: list[str]) -> list[str]:
        """The command that runs another one on this host. It becomes that one: the process is the same."""
        return ["ip", "netns", "exec", self.name, *command]


class Network:
    """Two networks and the hosts in them. Owns them until `close`."""

    def __init__(self) -> None:
        self.redis = Net(bridge=f"imr{_ID}", prefix=f"198.18.{_ID}")
        self.s3 = Net(bridge=f"ims{_ID}", prefix=f"198.19.{_ID}")
        self._hosts: list[Host] = []

    def open(self) -> None:
        """Make both bridges, and see whether there may be hosts."""
        for number, net in enumerate((self.redis, self.s3)):
            _ip(f"link add {net.bridge} address {_MAC.format(id=number)} type bridge")
            _ip(f"addr add {net.address}/24 dev {net.bridge}")
            _ip(f"link set {net.bridge} up")
        _ip(f"netns add {_NAME}")
        _ip(f"netns delete {_NAME}")

    def host(self) -> Host:
        """A further host, with a cable to both."""
        number = len(self._hosts) + 11
        host = Host(name=f"{_NAME}-{number}", number=number)
        self._hosts.append(host)
        _ip(f"netns add {host.name}")
        _ip(f"-n {host.name} link set lo up")
        for net in (self.redis, self.s3):
            port = host.port_in(net)
            _ip(f"link add {port} type veth peer name {net.bridge} netns {host.name}")
            _ip(f"link set {port} master {net.bridge} up")
            _ip(f"-n {host.name} addr add {host.address_in(net)}/24 dev {net.bridge}")
            _ip(f"-n {host.name} link set {net.bridge} up")
        return host

    def cut(self, host: Host, net: Net) -> None:
        """Pull a host's cable; nothing that is sent arrives, and nothing says so."""
        _ip(f"link set {host.port_in(net)} nomaster")

    def join(self, host: Host, net: Net) -> None:
        """Put it back."""
        _ip(f"link set {host.port_in(net)} master {net.bridge}")

    def close(self) -> None:
        """Take everything away that is there."""
        for host in self._hosts:
            _ip(f"netns delete {host.name}", is_checked=False)
            # The kernel takes a namespace down when it likes; a cable's end goes with the other, and at once.
            for net in (self.redis, self.s3):
                _ip(f"link delete {host.port_in(net)}", is_checked=False)
        for net in (self.redis, self.s3):
            _ip(f"link delete {net.bridge}", is_checked=False)


@contextmanager
def open_network() -> Iterator[Network]:
    """The networks, while the block runs; skips where they cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    if shutil.which("ip") is None:
        pytest.skip("needs Debian's iproute2 (.ci/prepare installs it), which is not here")
    network = Network()
    try:
        try:
            network.open()
        except subprocess.CalledProcessError as exc:
            pytest.skip(f"this machine lets nobody make network namespaces: {exc.stderr.strip()}")
        yield network
    finally:
        network.close()


def _ip(arguments: str, *, is_checked: bool = True) -> None:
    command = [shutil.which("ip") or "ip", *arguments.split()]
    subprocess.run(command, check=is_checked, capture_output=True, text=True, timeout=20)
