"""What one key has open of the API costs another nothing: its connections, its batches, their answers on disk."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from resource import RLIMIT_FSIZE, prlimit
from statistics import median

from ops.process import LOOPBACK
from tests.blackbox.outside import PROMPT
from tests.blackbox.system import PATIENCE_S, System, until

BATCHES = 20
LINES = 500


@contextmanager
def asking(
    system: System, method: str, path: str, key: str, body: bytes | None = None, kind: str = "application/json"
) -> Iterator[HTTPResponse]:
    """An answer that has begun."""
    assert system.api is not None
    connection = HTTPConnection(LOOPBACK, system.api.port or 0, timeout=2 * PATIENCE_S)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {key}", "Content-Type": kind})
        yield connection.getresponse()
    finally:
        connection.close()


def batch_of(lines: int, **fields: str) -> bytes:
    return b"".join(
        json.dumps({"prompt": PROMPT, "custom_id": f"c{n}", **fields}).encode() + b"\n" for n in range(lines)
    )


def send_batch(system: System, key: str, body: bytes) -> tuple[int, list[str | None]]:
    """The status, and the code of each line's error."""
    with asking(system, "POST", "/v1/jobs/batch", key, body, "application/jsonl") as answer:
        text = answer.read()
        lines = text.splitlines() if answer.status == 200 else [text]
        return answer.status, [(json.loads(line)["error"] or {}).get("code") for line in lines]


def test_streams_of_one_key_are_bounded_and_another_key_is_served(system: System) -> None:
    one, two = system.key("one", "--max-connections", "5"), system.key("two")
    job = system.submit(one)
    with ExitStack() as streams:
        for _ in range(5):
            streams.enter_context(asking(system, "GET", f"/v1/jobs/{job}/events", one))
        refused = system.http("GET", f"/v1/jobs/{job}/events", key=one)
        assert (refused.status, refused.body["error"]["code"]) == (429, "too_many_connections")
        assert int(refused.headers["retry-after"]) >= 1
        system.submit(two)
    until("streams are closed", lambda: system.http("GET", "/v1/limits", key=one).status == 200)
    assert system.http("GET", "/v1/limits", key=one).body["max_connections"] == 5


def test_batches_at_once_of_one_key_are_bounded(system: System) -> None:
    """And told by their own code."""
    key = system.key("one")
    answers: list[tuple[int, list[str | None]]] = []
    senders = [
        threading.Thread(target=lambda: answers.append(send_batch(system, key, batch_of(LINES))))
        for _ in range(BATCHES)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(2 * PATIENCE_S)
    refused = [codes for status, codes in answers if status == 429]
    assert refused
    assert refused == [["too_many_batches"]] * len(refused)
    assert [codes for status, codes in answers if status == 200] == [[None] * LINES] * (BATCHES - len(refused))


def test_submission_waits_for_few_lines_of_another_keys_batches(system: System) -> None:
    """Counted in jobs of the other that were queued meanwhile: a busy machine is slow for both."""
    many = system.key("many", "--max-batches", str(BATCHES))
    one = system.key("one")
    redis, body = system.redis(), batch_of(20_000)  # More than there is time for.

    def queued() -> int:
        return int(redis.zcard("imagemill:jobs:many"))

    def send() -> None:
        with suppress(OSError, HTTPException):  # The process is gone.
            send_batch(system, many, body)

    senders = [threading.Thread(target=send) for _ in range(BATCHES)]
    for sender in senders:
        sender.start()
    try:
        until("batches are on their way", lambda: queued() >= 1_000)
        meanwhile = []
        for _ in range(9):
            before = queued()
            system.submit(one)
            meanwhile.append(queued() - before)
    finally:
        assert system.api is not None
        assert system.api.pid is not None
        os.kill(system.api.pid, signal.SIGKILL)
        for sender in senders:
            sender.join(2 * PATIENCE_S)
    assert median(meanwhile) < 1_500, meanwhile


def test_disk_that_is_full_of_answers_refuses_before_it_queues(system: System) -> None:
    key = system.key("one")
    assert system.api is not None
    pid = system.api.pid
    assert pid is not None
    prlimit(pid, RLIMIT_FSIZE, (1_500_000, 1_500_000))
    status, codes = send_batch(system, key, batch_of(10))
    assert (status, codes) == (200, [None] * 10)
    status, codes = send_batch(system, key, batch_of(20 * LINES))
    assert (status, codes[-1]) == (200, "disk_full")
    redis = system.redis()
    assert redis.zcard("imagemill:jobs:one") == codes.count(None) + 10
    prlimit(pid, RLIMIT_FSIZE, (100, 1_500_000))
    before = redis.zcard("imagemill:jobs:one")
    assert send_batch(system, key, batch_of(10)) == (503, ["disk_full"])
    assert redis.zcard("imagemill:jobs:one") == before


def test_stream_of_a_revoked_key_ends_and_hands_out_no_link(system: System) -> None:
    gone, stays = system.key("gone"), system.key("stays")
    job, other = system.submit(gone), system.submit(stays)
    with (
        asking(system, "GET", f"/v1/jobs/{job}/events", gone) as stream,
        asking(system, "GET", f"/v1/jobs/{other}/events", stays) as others,
    ):
        assert system.cli("keys", "revoke", "gone").returncode == 0
        text = stream.read().decode()
        system.worker()
        assert "event: completed" in others.read().decode()
    assert "event: refused" in text
    assert "invalid_api_key" in text
    assert "http" not in text
