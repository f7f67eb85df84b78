"""Requests as they really arrive: from HTTP/1.0, several at once, with more in their heads than belongs there."""

from __future__ import annotations

import json
import socket

import httpx2 as httpx
import pytest
import redis

from jobs.process.settings import Settings
from jobs.table.states import Status
from jobs.table.table import JobTable
from ops.process import wait_until
from producer import Client
from producer.api.wire import heads, protocol
from producer.keys.store import KeyStore
from tests.integration.producer.api.conftest import DEADLINE_S
from tests.integration.producer.api.test_bodies import connected, received_until

HOST = b"Host: localhost\r\n"
JOB = b'{"prompt": "a red circle"}'
JSON = b"Content-Type: application/json\r\n"
MEGABYTE = 1 << 20


def everything_on(connection: socket.socket) -> bytes:
    """What comes before the other side closes."""
    received = b""
    while chunk := connection.recv(65_536):
        received += chunk
    return received


def asked(replica: str, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer, after which the connection has to end."""
    with connected(replica) as connection:
        connection.sendall(request)
        head, _, body = everything_on(connection).partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return int(status.split()[1]), dict(each.lower().split(": ", 1) for each in fields), body


def get(*fields: bytes, target: bytes = b"/v1/jobs", version: bytes = b"1.1") -> bytes:
    return b"GET %s HTTP/%s\r\n%s\r\n" % (target, version, b"".join(each + b"\r\n" for each in fields))


NO_HOST = [
    ([], b"1.1"),
    ([b"localhost", b"localhost"], b"1.1"),
    ([b"localhost", b"images.example.org"], b"1.0"),
    ([b""], b"1.1"),
    ([b"localhost:99999"], b"1.1"),
    ([b"localhost/v1"], b"1.1"),
    ([b"user@localhost"], b"1.1"),
    ([b'localhost"><script>'], b"1.1"),
    ([b"a" * (heads.HOST_BYTES + 1)], b"1.1"),
    ([b"a" * 60_000], b"1.1"),
]


def test_request_without_one_host_is_refused(replica: str) -> None:
    for hosts, version in NO_HOST:
        status, headers, body = asked(replica, get(*(b"Host: " + each for each in hosts), version=version))
        error = json.loads(body)["error"]
        assert (status, error["code"], error["field"]) == (400, "malformed_request", "Host"), hosts
        assert error["message"].startswith("Host: ")
        assert len(body) < 300
        assert headers["connection"] == "close"


def test_hosts_as_they_are_written_are_taken(replica: str) -> None:
    for host in ("localhost", "localhost:80", "127.0.0.1:1", "[::1]", "[::1]:8000"):
        job = httpx.post(
            f"{replica}/v1/jobs", json=json.loads(JOB), headers={"Host": host}, trust_env=False, timeout=DEADLINE_S
        )
        assert job.status_code == 202
        assert job.json()["status_url"].startswith(f"http://{host}")


def test_host_of_a_whole_url_counts_and_not_that_of_the_header(replica: str) -> None:
    status, _, body = asked(replica, get(HOST.strip(), b"Connection: close", target=b"http://other.example/v1/jobs"))
    assert (status, "other.example" in json.loads(body)["error"]["message"]) == (401, True)
    assert (
        asked(replica, get(b"Host: other.example", b"Connection: close", target=b"http://localhost/v1/jobs"))[0] == 200
    )


NO_HEADS = [
    (get(HOST.strip(), target=b"/" + b"a" * heads.TARGET_BYTES), 414, "target_too_long"),
    (get(HOST.strip(), target=b"/health?" + b"a" * heads.TARGET_BYTES), 414, "target_too_long"),
    (get(HOST.strip(), *[b"a: b"] * heads.FIELDS), 431, "head_too_large"),
    (get(HOST.strip(), *[b"a: " + b"b" * 8_000] * 16), 431, "head_too_large"),
    (get(HOST.strip(), target=b"*"), 400, "malformed_request"),
    (b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed_request"),
    (get(HOST.strip(), version=b"2.0"), 505, "version_not_supported"),
    (b"GET /health\r\n\r\n", 505, "version_not_supported"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "malformed_request"),
    (get(HOST.strip(), b"Content-Length: 3", b"Content-Length: 3"), 400, "malformed_request"),
    (get(HOST.strip(), b"Content-Length: 3", b"Transfer-Encoding: chunked"), 400, "malformed_request"),
    (get(HOST.strip(), b"Transfer-Encoding: gzip, chunked"), 501, "unsupported_transfer_encoding"),
    (get(HOST.strip(), b"Transfer-Encoding: gzip"), 501, "unsupported_transfer_encoding"),
    (get(HOST.strip(), b"Transfer-Encoding: chunked", version=b"1.0"), 400, "malformed_request"),
    (
        b"POST /v1/jobs HTTP/1.1\r\n" + HOST + JSON + b"Transfer-Encoding: chunked\r\n\r\nx\r\n",
        400,
        "malformed_request",
    ),
]


def test_head_that_is_none_is_refused_by_an_error_like_all_others(replica: str) -> None:
    for request, status, code in NO_HEADS:
        answered, headers, body = asked(replica, request)
        assert (answered, json.loads(body)["error"]["code"]) == (status, code), request[:200]
        assert headers["content-type"] == "application/json"


def test_trailer_changes_nothing_of_what_the_head_said(replica: str) -> None:
    chunks = b"%x\r\n%s\r\n0\r\nHost: other.example\r\nPrefer: wait=1\r\n\r\n" % (len(JOB), JOB)
    head = b"POST /v1/jobs HTTP/1.1\r\n" + HOST + JSON + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    status, headers, body = asked(replica, head + chunks)
    assert (status, "preference-applied" in headers, b"other.example" in body) == (202, False, False)


def test_trailers_without_end_are_not_kept(replica: str, client: Client) -> None:
    """Of a request whose body nobody reads, and whose answer goes on."""
    path = f"/v1/jobs/{client.submit('a red circle').id}/events"
    with connected(replica) as connection:
        connection.sendall(get(HOST.strip(), b"Transfer-Encoding: chunked", target=path.encode()) + b"0\r\n")
        received_until(connection, b"\r\n\r\n")
        with pytest.raises(OSError):
            for _ in range(4_096):
                connection.sendall(b"a: %s\r\n" % (b"b" * 8_000))


@pytest.mark.parametrize("more", [(), (b"Connection: Upgrade", b"Upgrade: h2c")])
def test_several_requests_at_once_are_answered_and_not_without_end(replica: str, more: tuple[bytes, ...]) -> None:
    sent = protocol.PIPELINED * 200
    with connected(replica) as connection:
        connection.sendall(b"".join(get(HOST.strip(), *more, target=b"/none/%d" % each) for each in range(sent)))
        *answers, last = everything_on(connection).split(b"HTTP/1.1 ")[1:]
    assert protocol.PIPELINED <= len(answers) < sent / 10
    assert b"connection: close" in last
    assert not any(b"connection: close" in each for each in answers)


def test_client_that_leaves_behind_a_second_request_is_missed(replica: str, table: JobTable) -> None:
    body = b"POST /v1/images/generations HTTP/1.1\r\n" + HOST + JSON + b"Content-Length: %d\r\n\r\n%s" % (len(JOB), JOB)
    with connected(replica) as connection:
        connection.sendall(body + get(HOST.strip()))
        assert wait_until(lambda: bool(table.list_jobs()[0]), DEADLINE_S)
    assert wait_until(lambda: table.list_jobs()[0][0].status is Status.CANCELED, DEADLINE_S)


def test_client_that_asks_for_another_protocol_is_answered_in_this_one(replica: str) -> None:
    upgrade = get(HOST.strip(), b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", target=b"/health")
    with connected(replica) as connection:
        connection.sendall(upgrade + get(HOST.strip(), b"Connection: close", target=b"/none"))
        first, second = everything_on(connection).split(b"HTTP/1.1 ")[1:]
    assert (first[:3], second[:3]) == (b"200", b"404")


CHUNKED = b"Transfer-Encoding: chunked"
BODIES = [
    (b"Content-Length: %d" % len(JOB), JOB),
    (CHUNKED, b"%x\r\n%s\r\n0\r\n\r\n" % (len(JOB), JOB)),
    (CHUNKED, b"5\r\n%s\r\n%x\r\n%s\r\n0\r\na: b\r\n\r\n" % (JOB[:5], len(JOB) - 5, JOB[5:])),
]


@pytest.mark.parametrize(("framing", "body"), BODIES, ids=["length", "chunk", "chunks and trailer"])
@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_body_of_a_client_that_asks_for_another_protocol_is_its_own(
    replica: str, framing: bytes, body: bytes, pieces: int
) -> None:
    """Java's client asks so by itself, of every server without TLS. What is taken for no body is taken for requests."""
    fields = (HOST.strip(), JSON.strip(), b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", framing)
    post = get(*fields, target=b"/v1/jobs").replace(b"GET", b"POST", 1) + body
    sent = post * 2 + get(HOST.strip(), b"Connection: close", target=b"/none")
    with connected(replica) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        size = -(-len(sent) // pieces)
        for at in range(0, len(sent), size):
            connection.sendall(sent[at : at + size])
        answers = everything_on(connection).split(b"HTTP/1.1 ")[1:]
    assert [each[:3] for each in answers] == [b"202", b"202", b"404"]


NO_REQUESTS = [
    b"GARBAGE\r\n\r\n",
    get(),
    get(HOST.strip(), *[b"a: b"] * heads.FIELDS),
    b"GET /" + b"a" * 70_000,
    get(HOST.strip(), CHUNKED) + b"x\r\n",
    b"POST /v1/jobs HTTP/1.1\r\n" + HOST + JSON + CHUNKED + b"\r\n\r\n3\r\n{}x\r\nx\r\n",
]


@pytest.mark.parametrize("last", NO_REQUESTS, ids=["garbage", "no host", "fields", "target", "chunk", "body"])
def test_refusal_is_no_answer_to_the_requests_before_it(replica: str, table: JobTable, last: bytes) -> None:
    """What they asked for is done; a client that is told of another error does it again."""
    post = b"POST /v1/jobs HTTP/1.1\r\n" + HOST + JSON + b"Content-Length: %d\r\n\r\n%s" % (len(JOB), JOB)
    for before in (post, post * 3):
        with connected(replica) as connection:
            connection.sendall(before + last)
            answers = everything_on(connection).split(b"HTTP/1.1 ")[1:]
        assert [each[:3] for each in answers] == [b"202"] * before.count(b"POST")
    assert len(table.list_jobs()[0]) == 4


def test_body_that_comes_behind_an_answer_may_take_its_time(
    replica: str, client: Client, table: JobTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is that of the next request, and not what is left of one that was refused."""
    monkeypatch.setattr(protocol, "LINGER_S", 0.0)
    job_id = client.submit("a red circle").id
    fields = (HOST.strip(), JSON.strip(), b"Connection: close", b"Content-Length: %d" % len(JOB))
    post = get(*fields).replace(b"GET", b"POST", 1)
    with connected(replica) as connection:
        connection.sendall(get(HOST.strip(), target=f"/v1/jobs/{job_id}/events".encode()) + post + JOB[:5])
        received_until(connection, b"\r\n\r\n")
        table.cancel(job_id)
        received_until(connection, b"0\r\n\r\n")
        connection.sendall(JOB[5:])
        assert everything_on(connection).startswith(b"HTTP/1.1 202")


def test_old_client_gets_no_chunks(replica: str, client: Client, table: JobTable) -> None:
    job_id = client.submit("a red circle").id
    table.cancel(job_id)
    status, headers, body = asked(replica, get(HOST.strip(), target=f"/v1/jobs/{job_id}".encode(), version=b"1.0"))
    assert (status, headers["content-length"], json.loads(body)["id"]) == (200, str(len(body)), job_id)
    events = get(HOST.strip(), b"Connection: keep-alive", target=f"/v1/jobs/{job_id}/events".encode(), version=b"1.0")
    status, headers, body = asked(replica, events)
    assert (status, "transfer-encoding" in headers, headers["connection"]) == (200, False, "close")
    assert body.startswith(b"event: completed\n")
    assert body.endswith(b"\n\n")
    lines = b"\n".join([JOB] * 3)
    batch = (
        b"POST /v1/jobs/batch HTTP/1.0\r\n" + HOST + b"Content-Type: application/jsonl\r\nContent-Length: %d\r\n\r\n%s"
    )
    status, headers, body = asked(replica, batch % (len(lines), lines))
    assert (status, "transfer-encoding" in headers) == (200, False)
    assert [json.loads(each)["line"] for each in body.splitlines()] == [1, 2, 3]


def test_old_client_keeps_its_connection_if_it_asks_to(replica: str) -> None:
    with connected(replica) as connection:
        connection.sendall(get(HOST.strip(), b"Connection: keep-alive", target=b"/health", version=b"1.0"))
        assert b"connection: keep-alive" in received_until(connection, b"}")
        connection.sendall(get(HOST.strip(), target=b"/health", version=b"1.0"))
        assert b"connection: close" in everything_on(connection)


REFUSED_BODIES = [
    (HOST + JSON, 413, "body_too_large"),
    (HOST + b"Content-Type: text/plain\r\n", 415, "unsupported_media_type"),
    (HOST + JSON + b"Authorization: Bearer im_wrong\r\n", 401, "invalid_api_key"),
    (HOST * 2, 400, "malformed_request"),
    (HOST + b"a: b\r\n" * heads.FIELDS, 431, "head_too_large"),
]


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_sender_of_a_refused_body_reads_why_though_it_wants_the_connection_closed(
    replica: str, redis_client: redis.Redis, settings: Settings, version: bytes
) -> None:
    """As most clients do, it reads when it has sent all."""
    key = KeyStore(redis_client, settings).create("blog")[0].encode()
    head = b"POST /v1/jobs HTTP/%s\r\n%sConnection: close\r\nContent-Length: %d\r\nx-api-key: " + key + b"\r\n\r\n"
    for fields, status, code in REFUSED_BODIES:
        answered, headers, body = asked(replica, head % (version, fields, 3 * MEGABYTE) + b" " * 3 * MEGABYTE)
        assert (answered, json.loads(body)["error"]["code"]) == (status, code), fields[:200]
        assert headers["connection"] == "close"
