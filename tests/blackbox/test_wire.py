"""Clients and proxies as they are: those that do not read, that forge a name, that speak HTTP/1.0, that pass on."""

from __future__ import annotations

import json
import select
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from ops.process import LOOPBACK
from tests.blackbox.conftest import MakeSystem
from tests.blackbox.system import PATIENCE_S, Command, System, simulated, until

JOBS, CONNECTIONS = 100, 20
HOST = "a" * 60_000
MOST_GROWN_MIB = 64  # Each answer was 25 MB, as its links had that host.


def connected(api: Command, request: str) -> socket.socket:
    """Somebody who has asked, and has next to no room for the answer."""
    made = socket.socket()
    made.settimeout(PATIENCE_S)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    made.connect((LOOPBACK, api.port or 0))
    made.sendall(request.replace("\n", "\r\n").encode())
    return made


def memory_mib(api: Command) -> float:
    lines = Path(f"/proc/{api.pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def is_dropped(connection: socket.socket) -> bool:
    """Whether the other side has broken it off; nothing is read."""
    waiting = select.poll()
    waiting.register(connection, 0)
    return bool(waiting.poll(0))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux' /proc")
def test_clients_that_do_not_read_hold_no_memory(system: System) -> None:
    assert system.api is not None
    key = system.key("blog")
    until("the key is known", lambda: system.http("GET", "/v1/models", key=key).status == 200)
    lines = [{"prompt": "a red circle", "negative_prompt": "a" * 1_500, "guidance_scale": 2} for _ in range(JOBS)]
    assert system.http("POST", "/v1/jobs/batch", lines, key).status == 200
    asked = f"GET /v1/jobs?limit={JOBS} HTTP/1.1\nx-api-key: {key}\nHost: "
    before = memory_mib(system.api)
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            forged = stack.enter_context(connected(system.api, f"{asked}{HOST}\n\n"))
            assert forged.recv(9) == b"HTTP/1.1 "
        assert memory_mib(system.api) - before < MOST_GROWN_MIB
        unread = stack.enter_context(connected(system.api, f"{asked}localhost\n\n"))
        assert unread.recv(12) == b"HTTP/1.1 200"
        until("who does not read is let go", lambda: is_dropped(unread))
    assert len(system.http("GET", f"/v1/jobs?limit={JOBS}", key=key).body["data"]) == JOBS


def test_old_clients_and_proxies_get_what_they_can_use(system: System) -> None:
    """HTTP/1.0 knows no chunks; and what a proxy passes on is not from this machine, though it says so."""
    assert system.api is not None
    path = f"/v1/jobs/{system.submit()}"
    system.http("DELETE", path)
    with connected(system.api, f"GET {path}/events HTTP/1.0\nHost: localhost\n\n") as old:
        answer = b""
        while chunk := old.recv(65_536):
            answer += chunk
    head, _, events = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert events.startswith(b"event: ")
    for added in ({"X-Forwarded-For": "10.0.0.7"}, {"Forwarded": "for=10.0.0.7"}, {"X-Real-IP": "10.0.0.7"}):
        refused = system.http("GET", path, headers=added)
        assert (refused.status, refused.body["error"]["code"]) == (401, "invalid_api_key"), added
    with connected(system.api, f"GET {path} HTTP/1.0\nHost: 127.0.0.1\nConnection: close\n\n") as nginx:
        assert nginx.recv(12) == b"HTTP/1.1 401"
    key = system.key("blog")
    assert system.http("GET", "/v1/models", key=key, headers={"X-Forwarded-For": "10.0.0.7"}).status == 200


def test_all_stays_below_the_path_of_the_public_url(make_system: MakeSystem) -> None:
    system = make_system(simulated())
    public = "https://example.org/images"
    system.serve({"IMAGEMILL_API_PUBLIC_URL": public})
    assert system.http("POST", "/v1/jobs", {"prompt": "a red circle"}).status == 401  # Others are meant to come.
    key = system.key("blog")
    until("the key is known", lambda: system.http("GET", "/v1/models", key=key).status == 200)
    assert system.http("GET", "/openapi.json").body["servers"] == [{"url": public}]
    assert system.http("GET", "/docs/").status == 200
    job = system.http("POST", "/v1/jobs/", {"prompt": "a red circle"}, key)
    assert (job.status, job.headers["location"]) == (202, f"{public}/v1/jobs/{job.body['id']}")
    assert json.dumps(job.body).count("https://") == json.dumps(job.body).count(f"{public}/v1/jobs/") > 0
