"""The stack of docker-compose.yml on a real Docker engine, without a GPU: a project of its own, gone at the end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.process import free_port, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
_UP_S = 1500  # Images are built from nothing the first time.
_COMMAND_S = 180
_LABEL = "com.docker.compose.project"
_OURS = ("IMAGEMILL_", "REDIS_", "S3_", "FLOWER_", "API_", "WORKER_", "MODELS_", "PROMETHEUS_", "COMPOSE_", "HF_")


class Compose:
    """
    One project.

    Attributes:
        name: Of the project; its containers, volumes and networks begin with it.
        key: Of the API, once `make_key` was called.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = ""
        self.api_port, self.flower_port = free_port(), free_port()
        own = {"API_PORT": str(self.api_port), "FLOWER_PORT": str(self.flower_port), "IMAGEMILL_TAG": "test"}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        self._env = inherited | own

    def run(self, *args: str, timeout_s: int = _COMMAND_S) -> str:
        """`docker compose ARGS…`; its standard output. A failure shows what it said."""
        files = ["--file", str(CHECKOUT / "docker-compose.yml"), "--file", str(CHECKOUT / "docker-compose.cpu.yml")]
        # An empty file: what stands in .env is this machine's own.
        command = ["docker", "compose", "--env-file", os.devnull, "--project-name", self.name, *files, *args]
        return _run(command, self._env, timeout_s)

    def up(self, *args: str) -> None:
        """Start, and wait until everything is healthy."""
        try:
            self.run("up", "--wait", *args, timeout_s=_UP_S)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.run('ps', '--all')}\n{self.run('logs', '--tail', '30')}") from None

    def containers(self, service: str | None = None) -> list[dict[str, Any]]:
        """What Docker knows of the project's containers, or of those of one service."""
        ids = self.run("ps", "--all", "--quiet", *([service] if service else [])).split()
        found: list[dict[str, Any]] = json.loads(docker("inspect", *ids)) if ids else []
        return found

    def make_key(self, name: str) -> None:
        """A key of the API, as an operator makes it."""
        self.key = self.run("exec", "--no-TTY", "api", "imagemill", "keys", "create", name).strip()

    def workers(self) -> dict[str, list[str]]:
        """The jobs that each worker holds, by its name."""
        lines = self.run("exec", "--no-TTY", "api", "imagemill", "workers", "--json").splitlines()
        return {each["name"]: each["jobs"] for each in map(json.loads, lines)}

    def ask(self, path: str, body: dict[str, Any] | None = None, raw: bool = False) -> Any:
        """A request to the published API, with the key."""
        url = path if path.startswith("http") else f"http://127.0.0.1:{self.api_port}{path}"
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers)  # noqa: S310 - http, to this machine
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=100) as answer:
            content = answer.read()
        return content if raw else json.loads(content)

    def submit(self, count: int, **fields: Any) -> list[str]:
        """Submit jobs; their ids."""
        return [self.ask("/v1/jobs", {"seed": seed, **fields})["id"] for seed in range(count)]

    def ended(self, job_ids: list[str], deadline_s: float) -> list[dict[str, Any]]:
        """The jobs, when all have ended."""
        jobs: dict[str, dict[str, Any]] = {}

        def have_all_ended() -> bool:
            for job_id in job_ids:
                if job_id not in jobs:
                    job = self.ask(f"/v1/jobs/{job_id}")
                    if job["ended_at"] is None:
                        return False
                    jobs[job_id] = job
            return True

        assert wait_until(have_all_ended, deadline_s), f"{len(jobs)} of {len(job_ids)} ended: {self.workers()}"
        return [jobs[job_id] for job_id in job_ids]


def docker(*args: str) -> str:
    """`docker ARGS…`; its standard output."""
    return _run(["docker", *args], dict(os.environ), _COMMAND_S)


def why_no_engine() -> str | None:
    """Why there is nothing to test on; None where there is an engine, and Compose."""
    program = shutil.which("docker")
    if program is None:
        return "there is no docker here"
    for command, needs in ((["info"], "a Docker engine that answers"), (["compose", "version"], "Docker Compose")):
        asked = subprocess.run([program, *command], capture_output=True, text=True, check=False, timeout=30)
        if asked.returncode != 0:
            last = (asked.stderr.strip().splitlines() or ["nothing was said"])[-1]
            return f"this needs {needs} (`docker {' '.join(command)}`: {last})"
    return None


def _run(command: list[str], env: dict[str, str], timeout_s: int) -> str:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=timeout_s)
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def left_over(project: str) -> dict[str, list[str]]:
    """Containers, volumes and networks of a project, as they are listed."""
    listed = {"container": ["ps", "--all"], "volume": ["volume", "ls"], "network": ["network", "ls"]}
    found = {
        kind: docker(*command, "--quiet", "--filter", f"label={_LABEL}={project}") for kind, command in listed.items()
    }
    return {kind: ids.split() for kind, ids in found.items() if ids.strip()}


@pytest.fixture(scope="session")
def stack() -> Iterator[Compose]:
    """The stack, built from this checkout and healthy; nothing of it is left but its images."""
    if reason := why_no_engine():
        pytest.skip(reason)
    compose = Compose(f"imagemill-test-{uuid.uuid4().hex[:6]}")
    try:
        compose.up("--build")
        compose.make_key("tests")
        yield compose
    finally:
        compose.run("down", "--volumes", "--remove-orphans", "--timeout", "10")
        assert left_over(compose.name) == {}
