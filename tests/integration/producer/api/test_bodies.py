"""What a client sends too much of, too slowly or in a wrong form is refused, and harms nobody."""

from __future__ import annotations

import codecs
import gzip
import itertools
import json
import socket
from collections.abc import Iterator

import httpx2 as httpx
import pytest
import redis
from fastapi.testclient import TestClient

from jobs.table.table import JobTable
from producer import Client
from producer.api.settings import ApiSettings
from producer.api.wire import heads, protocol
from tests.integration.producer.api.conftest import DEADLINE_S
from tests.integration.producer.api.routes import filled

JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.5)
    monkeypatch.setattr(protocol, "LINGER_S", 0.5)


def connected(replica: str) -> socket.socket:
    """From now on the head of a request is waited for: whatever else a test needs, it makes before."""
    url = httpx.URL(replica)
    return socket.create_connection((url.host, url.port), timeout=DEADLINE_S)


@pytest.fixture
def api_settings() -> ApiSettings:
    return ApiSettings(max_wait_s=5, body_timeout_s=0.5)


@pytest.fixture
def connection(replica: str) -> Iterator[socket.socket]:
    with connected(replica) as made:
        yield made


@pytest.fixture
def connection_to_events(replica: str, client: Client) -> Iterator[tuple[socket.socket, str]]:
    """A connection on which the events of a job were asked for, and the job's id."""
    job_id = client.submit("a red circle").id
    with connected(replica) as made:
        made.sendall(f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        yield made, job_id


def received_until(connection: socket.socket, text: bytes) -> bytes:
    """What comes, up to a text, in however many pieces."""
    received = b""
    while text not in received:
        chunk = connection.recv(65_536)
        assert chunk, f"closed before {text!r} came: {received!r}"
        received += chunk
    return received


def answer_on(connection: socket.socket) -> tuple[int, str]:
    """Status and body of the answer that comes before the other side closes."""
    received = b""
    while chunk := connection.recv(65_536):
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "zero-length"),
        (b'{"prompt": "hush"', "line 1, column 18"),
        (b'{"prompt": "\xff"}', "UTF-8"),
        (b'{"prompt": "hush", "n": NaN}', "not valid JSON"),
        (b'["hush"]', "must be a JSON object"),
        (b'"hush"', "must be a JSON object"),
        (b"[" * 10_000 + b"]" * 10_000, "depth limit"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "depth limit"),
    ],
)
def test_body_that_is_no_json_object_is_refused_without_repeating_it(
    api: TestClient, redis_client: redis.Redis, body: bytes, message: str
) -> None:
    answer = api.post("/v1/jobs", content=body, headers=JSON)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "malformed_body")
    assert message in error["message"]
    assert "hush" not in answer.text
    assert redis_client.keys("imagemill:job:*") == []


def test_deep_values_that_the_parser_lets_pass_are_refused_by_name(api: TestClient) -> None:
    deep = json.loads("[" * 500 + "]" * 500)
    for field in ("metadata", "prompt", "output", "colour"):
        answer = api.post("/v1/jobs", json={"prompt": "a red circle", field: deep})
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_body_of_another_type_is_refused(api: TestClient, kind: str) -> None:
    """A page in a browser can send these to this machine without asking first."""
    answer = api.post("/v1/jobs", content=b'{"prompt": "a red circle"}', headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]["field"]) == (415, "Content-Type")


def test_packed_body_is_refused_by_every_route_that_takes_one(api: TestClient, client: Client) -> None:
    paths = api.get("/openapi.json").json()["paths"]
    found = [
        (method, path, kind.replace("multipart/form-data", "multipart/form-data; boundary=x"))
        for path, each in paths.items()
        for method in each
        for kind in each[method].get("requestBody", {"content": {}})["content"]
    ]
    assert len(found) >= 7
    body, job_id = gzip.compress(b'{"prompt": "a red circle", "priority": "low"}'), client.submit("a red circle").id
    for packed, (method, path, kind) in itertools.product(("gzip", "br", "GZIP", "identity, deflate"), found):
        headers = {"Content-Type": kind, "Content-Encoding": packed}
        answer = api.request(method, filled(path, job_id=job_id), content=body, headers=headers)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (415, "unsupported_media_type"), path
        assert error.get("field", error.get("param")) == "Content-Encoding"
        assert (answer.headers["accept-encoding"], "identity" in error["message"]) == ("identity", True)


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_body_that_says_that_it_is_not_packed_is_taken(api: TestClient, encoding: str) -> None:
    headers = {**JSON, "Content-Encoding": encoding}
    assert api.post("/v1/jobs", content=b'{"prompt": "a red circle"}', headers=headers).status_code == 202


def test_body_in_other_characters_than_utf_8_is_refused_and_a_mark_of_it_is_passed_over(api: TestClient) -> None:
    for charset, status in (("utf-16", 415), ("iso-8859-1", 415), ("utf-8", 202), ('"UTF-8"', 202)):
        headers = {"Content-Type": f"application/json; charset={charset}"}
        answer = api.post("/v1/jobs", content=codecs.BOM_UTF8 + b'{"prompt": "a red circle"}', headers=headers)
        assert answer.status_code == status, charset
        assert status == 202 or "charset must be utf-8" in answer.json()["error"]["message"]


def test_body_of_50_mb_is_refused_and_its_sender_reads_why(replica: str) -> None:
    megabyte = b" " * (1 << 20)
    for content in (megabyte * 50, (megabyte for _ in range(50))):  # With its length in the head, and without.
        answer = httpx.post(f"{replica}/v1/jobs", content=content, headers=JSON, timeout=DEADLINE_S, trust_env=False)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


def test_slow_body_is_refused(connection: socket.socket) -> None:
    connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
    connection.sendall(b"Content-Length: 1000\r\n\r\n{")
    status, body = answer_on(connection)
    assert (status, json.loads(body)["error"]["code"]) == (408, "body_too_slow")


def test_slow_head_is_refused(connection: socket.socket) -> None:
    connection.sendall(b"GET /health HTTP/1.1\r\nHost:")
    status, body = answer_on(connection)
    assert (status, json.loads(body)["error"]["code"]) == (408, "head_too_slow")


def test_slow_head_is_refused_on_a_connection_that_was_kept(connection: socket.socket) -> None:
    connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert received_until(connection, b"}").startswith(b"HTTP/1.1 200")
    connection.sendall(b"GET /health HTTP/1.1\r\nHost:")
    assert answer_on(connection)[0] == 408


def test_connection_on_which_nothing_comes_is_closed(connection: socket.socket) -> None:
    assert connection.recv(1) == b""


def test_answer_that_takes_longer_than_a_head_may_is_not_cut(
    connection_to_events: tuple[socket.socket, str], table: JobTable
) -> None:
    connection, job_id = connection_to_events
    received = received_until(connection, b"\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200")
    connection.settimeout(3 * protocol.HEAD_TIMEOUT_S)
    with pytest.raises(TimeoutError):
        pytest.fail(f"nothing happened to the job, and yet came {connection.recv(65_536)!r}")
    connection.settimeout(DEADLINE_S)
    table.cancel(job_id)
    assert b"event: completed" in received_until(connection, b"0\r\n\r\n")


def test_head_that_ends_not_behind_an_answer_under_way_costs_that_nothing(
    connection_to_events: tuple[socket.socket, str], table: JobTable
) -> None:
    """There is no place for a refusal in the middle of an answer: it is the last one."""
    connection, job_id = connection_to_events
    received_until(connection, b"\r\n\r\n")
    connection.sendall(b"GET /slow")
    connection.settimeout(3 * protocol.HEAD_TIMEOUT_S)
    with pytest.raises(TimeoutError):
        pytest.fail(f"nothing happened to the job, and yet came {connection.recv(65_536)!r}")
    connection.settimeout(DEADLINE_S)
    table.cancel(job_id)
    assert b"event: completed" in received_until(connection, b"0\r\n\r\n")
    assert connection.recv(1) == b""


def test_large_head_is_refused(connection: socket.socket) -> None:
    head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nx-large: "
    connection.sendall(head + b"a" * (heads.HEAD_BYTES + 1 - len(head)))
    assert answer_on(connection)[0] == 431


def test_refused_body_that_never_ends_is_not_read_for_ever(connection: socket.socket) -> None:
    connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
    with pytest.raises(OSError):
        while True:
            connection.sendall(b" " * 65_536)


def test_others_are_served_while_clients_are_slow(replica: str) -> None:
    url = httpx.URL(replica)
    head = (
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    )
    made = []
    for _ in range(50):
        made.append(socket.create_connection((url.host, url.port), timeout=DEADLINE_S))
        made[-1].sendall(head + b"{")  # At once: a client that is held up between two parts is a slow one, and cut off.
    job = httpx.post(f"{replica}/v1/jobs", json={"prompt": "a red circle"}, trust_env=False, timeout=DEADLINE_S)
    assert job.status_code == 202
    for each in made:
        assert answer_on(each)[0] == 408
        each.close()
