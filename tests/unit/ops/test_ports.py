"""Ports for servers of our own."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from ops.process import LOOPBACK, free_port

FIRST_OF_CONNECTIONS = 32_768  # as the kernel has it


def test_ports_in_a_row_are_free_and_none_that_a_connection_gets() -> None:
    first = free_port(3)
    assert 10_000 <= first <= FIRST_OF_CONNECTIONS - 3
    with ExitStack() as stack:
        for port in range(first, first + 3):
            stack.enter_context(socket.create_server((LOOPBACK, port)))


def test_a_row_with_a_port_that_is_taken_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    first = free_port(6)
    offered = iter([first, first + 1, first + 3])
    monkeypatch.setattr("secrets.randbelow", lambda _below: next(offered) - 10_000)
    with socket.create_server((LOOPBACK, first + 2)):
        assert free_port(3) == first + 3
