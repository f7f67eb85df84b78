"""
Whether what this container runs does its work: `python -m ops.images.health worker|api|flower`, every few seconds.

So it imports little: none of it may cost more than what it looks at.
"""

from __future__ import annotations

import base64
import http.client
import re
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

_ANSWER_S = 5.0
_SECRETS = Path("/run/secrets")
_WORKER_NAME = Path("/tmp/worker-name")  # noqa: S108 - written by entrypoint.sh; a file system of this container alone


def worker() -> str | None:
    """Whether its heartbeat is current: a worker that does not report for two leases is forgotten in Redis."""
    from jobs.errors import ImagemillError
    from jobs.fleet.fleet import Fleet
    from jobs.process.settings import load_settings
    from jobs.redis.connection import connect

    name = _WORKER_NAME.read_text().strip() if _WORKER_NAME.exists() else socket.gethostname()
    try:
        settings = load_settings()
        with connect(settings) as client:
            own = [each for each in Fleet(client, settings).workers() if is_start_of(each.name, name)]
    except ImagemillError as exc:
        return str(exc)
    states = {each.state for each in own if each.state != "failed"}  # Of an earlier start, where another has come.
    if not states and own:
        return max(own, key=lambda each: each.failed_at).failure
    if not states:
        return f"no worker {name} says that it is there"
    return "it has not loaded its models yet" if states == {"starting"} else None


def api() -> str | None:
    """Whether it can serve: `/ready` asks Redis."""
    return _problem_of(8000, "/ready", {})


def flower() -> str | None:
    """Whether it lets those in who have the password, and no others, and sees the broker."""
    login = ":".join((_SECRETS / name).read_text().strip() for name in ("flower_user", "flower_password"))
    path = "/api/queues/length"
    if _get(5555, path, {}) != http.client.UNAUTHORIZED:
        return "it answers without a password"
    return _problem_of(5555, path, {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"})


def is_start_of(worker_name: str, own_name: str) -> bool:
    """Whether a name in the list (`worker@host-4f21ab`, `worker@host-gpu1-4f21ab`) is of a start of this worker."""
    return re.fullmatch(rf"worker@{re.escape(own_name)}(-(gpu|sim)[0-9-]+)?-[^-]+", worker_name) is not None


def _problem_of(port: int, path: str, headers: Mapping[str, str]) -> str | None:
    status = _get(port, path, headers)
    return None if status == http.client.OK else f"{path} answers with {status}"


def _get(port: int, path: str, headers: Mapping[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_S)
    try:
        connection.request("GET", path, headers=dict(headers))
        return connection.getresponse().status
    finally:
        connection.close()


_CHECKS: dict[str, Callable[[], str | None]] = {"worker": worker, "api": api, "flower": flower}


def main(name: str) -> None:
    """Run one check; says what is wrong, and exits with 1."""
    try:
        problem = _CHECKS[name]()
    except (OSError, http.client.HTTPException) as exc:
        problem = repr(exc)
    if problem:
        sys.exit(f"{name}: {problem}")


if __name__ == "__main__":
    main(sys.argv[1])
