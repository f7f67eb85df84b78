"""
One caller's requests wait for each other, and another's for few of them: the order of the answers tells.

The process is stopped while the requests are sent, so that it finds all of them at once.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import httpx2 as httpx
import pytest
import redis

from jobs.process.settings import Settings
from ops.programs import Api
from producer.keys.store import KeyStore
from tests.integration.producer.api.conftest import DEADLINE_S

MANY = 200
BEHIND = MANY // 2  # So many of another's answers may come first: far fewer than all, and more than are worked on.
BODY = b'{"prompt": "a red circle"}'


class Keyed:
    """A caller with a key, whose job waits."""

    def __init__(self, api: Api, keys: KeyStore, name: str) -> None:
        self._host = api.url.removeprefix("http://")
        self._token = keys.create(name)[0]
        headers = {"Authorization": f"Bearer {self._token}"}
        self.job_id = httpx.post(
            f"{api.url}/v1/jobs", content=BODY, headers={**headers, "Content-Type": "application/json"}, trust_env=False
        ).json()["id"]

    def send(self, method: str, path: str, body: bytes = b"", *lines: str) -> socket.socket:
        """A request on a connection of its own, which the process may see later."""
        head = [
            f"{method} {path.format(id=self.job_id)} HTTP/1.1",
            f"Host: {self._host}",
            f"Authorization: Bearer {self._token}",
            *(["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []),
            *lines,
        ]
        name, _, port = self._host.partition(":")
        connection = socket.create_connection((name, int(port)), DEADLINE_S)
        connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
        return connection


@pytest.fixture
def many(process: Api, redis_client: redis.Redis, settings: Settings) -> Keyed:
    return Keyed(process, KeyStore(redis_client, settings), "many")


@pytest.fixture
def one(many: Keyed, process: Api, redis_client: redis.Redis, settings: Settings) -> Keyed:
    return Keyed(process, KeyStore(redis_client, settings), "one")


@contextmanager
def stopped(process: Api) -> Iterator[None]:
    """It does nothing meanwhile; the kernel takes its connections."""
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


class Order:
    """In which connections are answered, whenever somebody looks: the kernel lists them as they become readable."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._seen: dict[int, None] = {}

    def watch(self, connection: socket.socket) -> None:
        self._epoll.register(connection, select.EPOLLIN | select.EPOLLET)

    def before(self, connection: socket.socket) -> int:
        """How many were answered before this one."""
        while connection.fileno() not in self._seen:
            found = self._epoll.poll(DEADLINE_S, MANY + 1)
            assert found
            self._seen |= dict.fromkeys(number for number, _ in found if number not in self._seen)
        return list(self._seen).index(connection.fileno())

    def close(self) -> None:
        self._epoll.close()


@pytest.fixture
def order() -> Iterator[Order]:
    with closing(Order()) as order:
        yield order


@pytest.mark.parametrize(
    ("method", "path", "body", "lines"),
    [
        ("GET", "/v1/jobs/{id}", b"", ()),
        ("GET", "/v1/jobs/{id}/events", b"", ()),
        ("GET", "/v1/jobs", b"", ()),
        ("GET", "/v1/jobs/none", b"", ()),
        ("POST", "/v1/jobs", BODY, ()),
        ("POST", "/v1/jobs", b"{}", ()),
        ("POST", "/v1/jobs/batch", BODY, ()),
        ("POST", "/v1/images/generations", b"{}", ()),
    ],
    ids=["reads", "streams", "lists", "nothing", "submissions", "refused", "batches", "openai"],
)
def test_request_waits_for_few_of_those_that_another_key_sent_before_it(
    process: Api, many: Keyed, one: Keyed, order: Order, method: str, path: str, body: bytes, lines: tuple[str, ...]
) -> None:
    with ExitStack() as stack:
        with stopped(process):
            others = [stack.enter_context(many.send(method, path, body, *lines)) for _ in range(MANY)]
            own = stack.enter_context(one.send("GET", "/v1/jobs/{id}"))
            for each in (*others, own):
                order.watch(each)
        assert order.before(own) <= BEHIND
        assert own.recv(12) == b"HTTP/1.1 200"
        for each in others:
            assert each.recv(9) == b"HTTP/1.1 "


def test_requests_without_a_key_that_holds_wait_for_each_other(
    process: Api, many: Keyed, one: Keyed, order: Order
) -> None:
    """Whatever they show in its place."""
    with ExitStack() as stack:
        with stopped(process):
            others = []
            for number in range(MANY):
                many._token = f"im_{number:064x}"
                others.append(stack.enter_context(many.send("GET", "/v1/jobs/{id}")))
            own = stack.enter_context(one.send("GET", "/v1/jobs/{id}"))
            for each in (*others, own):
                order.watch(each)
        assert order.before(own) <= BEHIND
        assert own.recv(12) == b"HTTP/1.1 200"
        for each in others:
            assert each.recv(12) == b"HTTP/1.1 401"


def test_clients_that_go_at_once_are_let_go_by_turns(process: Api, many: Keyed, one: Keyed) -> None:
    """And leave nothing behind: their caller's next requests are served."""
    with ExitStack() as stack:
        others = [stack.enter_context(many.send("GET", "/v1/jobs/{id}/events")) for _ in range(MANY)]
        for each in others:
            assert each.recv(12) == b"HTTP/1.1 200"
    for caller in (one, many):
        with caller.send("GET", "/v1/jobs/{id}") as own:
            assert own.recv(12) == b"HTTP/1.1 200"
