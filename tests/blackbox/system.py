"""
The running system as its users meet it: started by command line, asked over HTTP, Celery, the command line and files.

Nothing here imports what is tested, so that these tests outlive any move inside. `BLACKBOX_CHECKOUT` names another
checkout to test, with a `.venv` of its own: an older version, to see that a test fails there.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import redis
from celery import Celery

from ops.process import LOOPBACK, Process, free_port, http_status
from ops.servers import RedisServer, S3Server
from tests.celery_sender import celery_sender

T = TypeVar("T")

CHECKOUT = Path(os.environ.get("BLACKBOX_CHECKOUT", Path(__file__).resolve().parents[2]))
PATIENCE_S = 200.0  # for what only has to happen, on a machine that is busy
START_S = 600.0
BUCKET = "imagemill"
ENDED = ("succeeded", "failed", "canceled", "expired")
_POLL_INTERVAL_S = 0.05


def until(what: str, ask: Callable[[], T | None], deadline_s: float = PATIENCE_S) -> T:
    """Ask until the answer is true, and return it; an `AssertionError` says what did not come true in time."""
    end = time.monotonic() + deadline_s
    while not (answer := ask()):
        assert time.monotonic() < end, f"not within {deadline_s:g} s: {what}"
        time.sleep(_POLL_INTERVAL_S)
    return answer


def _name_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def simulated(
    name: str = "sim", *, launch_s: float = 0.01, row_s: float = 0.03, max_n: int = 16, more: str = ""
) -> str:
    """An entry of models.toml: a model without weights: `launch_s` for each step, and `row_s` for each image."""
    return f"""
[models.{name}]
source = "launch_s={launch_s} row_s={row_s} encode_s=0.01 decode_s=0.01"
revision = "test"
dtype = "float32"
family = "simulated"
schedulers = ["ddim"]
defaults = {{ width = 64, height = 64, num_inference_steps = 5, guidance_scale = 1.0, scheduler = "ddim" }}
limits = {{ min_side = 64, max_side = 256, side_multiple = 8, max_steps = 1000, max_n = {max_n} }}
{more}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Of the HTTP API; `body` is what its JSON means, a list where it is lines of JSON, or None."""

    status: int
    headers: Mapping[str, str]
    body: Any


def _meaning_of(text: bytes, content_type: str) -> Any:
    if "jsonl" in content_type:
        return [json.loads(line) for line in text.splitlines()]
    return json.loads(text) if "json" in content_type else None


class Command(Process):
    """
    `./imagemill ARGS…` of a checkout that goes on until it is stopped.

    Attributes:
        lines: All that it has printed.
    """

    grace_s = 60.0

    def __init__(
        self, args: list[str], env: Mapping[str, str], ready: str, port: int | None = None, checkout: Path = CHECKOUT
    ) -> None:
        super().__init__(args[0], env=env, cwd=checkout, port=port)
        self._args, self._ready, self._checkout = args, ready, checkout
        self.lines: list[str] = []

    def command(self) -> list[str]:
        return [str(self._checkout / "imagemill"), *self._args]

    def start(self, _on_line: Callable[[str], None] | None = None) -> None:
        super().start(self.lines.append)

    def is_ready(self) -> bool:
        """It answers on its port; or it has printed what says so."""
        return http_status(self.port, "/health") == 200 if self.port else bool(self.printed(self._ready))

    def printed(self, pattern: str) -> int:
        """How many of its lines hold a match."""
        return sum(re.search(pattern, line) is not None for line in list(self.lines))

    def http(
        self, method: str, path: str, body: Any = None, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask it over HTTP, if it is an API process; `body` goes as JSON."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port or 0, timeout=PATIENCE_S)
        sent = {"Content-Type": "application/json"} if body is not None else {}
        sent |= {"Authorization": f"Bearer {key}"} if key else {}
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, sent | dict(headers or {}))
            reply = connection.getresponse()
            text = reply.read()
            body = _meaning_of(text, reply.getheader("Content-Type") or "")
            return Answer(status=reply.status, headers=dict(reply.getheaders()), body=body)
        finally:
            connection.close()

    def wait_for_exit(self, deadline_s: float = PATIENCE_S) -> int:
        """Its exit code, when it has one, and `lines` has its last words."""
        until(f"{self.name} has ended", lambda: self.exit_code is not None, deadline_s)
        if self._reader is not None:
            self._reader.join(deadline_s)
        assert self.exit_code is not None
        return self.exit_code


class Listening(threading.Thread):
    """
    Somebody who follows a job's events over HTTP.

    Attributes:
        events: Types of those that came.
    """

    def __init__(self, port: int, path: str) -> None:
        super().__init__(daemon=True)
        self.events: list[str] = []
        self._port, self._path = port, path
        self.start()

    def run(self) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=2 * PATIENCE_S)
        try:
            connection.request("GET", self._path, headers={"Accept": "text/event-stream"})
            for line in connection.getresponse():
                if line.startswith(b"event:"):
                    self.events.append(line.removeprefix(b"event:").strip().decode())
        finally:
            connection.close()


class System:
    """
    Redis, an S3 store, and whatever is started beside them. Owns every process that it started.

    Attributes:
        commands: Those processes, in their order.

    Args:
        folder: Of this test alone.
        cache_dir: Where workers keep what they measured.
        models: The text of models.toml; None for the checkout's own.
        env: `IMAGEMILL_*` variables, and others, of every process.
    """

    def __init__(
        self, folder: Path, cache_dir: Path, models: str | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.redis_server = RedisServer(folder / "redis")
        self.s3_server = S3Server(folder / "s3")
        self._cleanup = ExitStack()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEMILL_")}
        self.env = {
            "OMP_NUM_THREADS": "1",  # Two systems at a time: teams of threads would wait for each other.
            **inherited,
            "PYTHONUNBUFFERED": "1",
            "IMAGEMILL_REDIS_URL": self.redis_server.url,
            "IMAGEMILL_S3_ENDPOINT_URL": self.s3_server.endpoint,
            "IMAGEMILL_S3_ACCESS_KEY_ID": self.s3_server.access_key_id,
            "IMAGEMILL_S3_SECRET_ACCESS_KEY": self.s3_server.secret_access_key,
            "IMAGEMILL_S3_BUCKET": BUCKET,
            "IMAGEMILL_METRICS_PORT": "off",
            "IMAGEMILL_WORKER_CACHE_DIR": str(cache_dir / _name_of(models or "")),  # Equal names may be other models.
            "IMAGEMILL_WORKER_SPOOL_DIR": str(folder / "spool"),
        }
        if models is not None:
            file = folder / "models.toml"
            file.write_text(models, "utf-8")
            self.env["IMAGEMILL_MODELS_FILE"] = str(file)
        self.env |= env or {}
        self.api: Command | None = None
        self.commands: list[Command] = []

    def __enter__(self) -> Self:
        with ExitStack() as cleanup:
            cleanup.enter_context(self.redis_server)
            cleanup.enter_context(self.s3_server)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def worker(self, *args: str, env: Mapping[str, str] | None = None, is_ready: bool = True) -> Command:
        """Start `./imagemill worker ARGS…`, and wait until it takes jobs unless `is_ready` is False."""
        process = Command(["worker", *args], {**self.env, **(env or {})}, r"worker@\S+ ready")
        self._start(process)
        if is_ready:
            process.wait_until_ready(START_S)
        return process

    def _start(self, process: Command) -> None:
        self._cleanup.callback(process.stop)
        self.commands.append(process)
        process.start()

    def serve(self, env: Mapping[str, str] | None = None, host: str = LOOPBACK) -> Command:
        """Start `./imagemill api`, wait for it, and have `http` ask it."""
        port = free_port()
        env = {**self.env, "IMAGEMILL_API_HOST": host, "IMAGEMILL_API_PORT": str(port), **(env or {})}
        process = Command(["api"], env, "", port=port)
        self._start(process)
        process.wait_until_ready(START_S)
        self.api = process
        return process

    def cli(self, *args: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run `./imagemill ARGS…` to its end, in this test's folder."""
        return subprocess.run(
            [str(CHECKOUT / "imagemill"), *args],
            env={**self.env, **(env or {})},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE_S,
        )

    def http(
        self, method: str, path: str, body: Any = None, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask the API; `body` goes as JSON."""
        assert self.api is not None, "serve() first"
        return self.api.http(method, path, body, key, headers)

    def submit(self, key: str | None = None, **fields: Any) -> str:
        """Submit a job over HTTP; its id."""
        answer = self.http("POST", "/v1/jobs", {"prompt": "a red circle on a blue background", **fields}, key)
        assert answer.status == 202, f"{answer.status} {answer.body}"
        return str(answer.body["id"])

    def job(self, job_id: str, key: str | None = None) -> dict[str, Any]:
        """A job as HTTP shows it."""
        answer = self.http("GET", f"/v1/jobs/{job_id}", key=key)
        assert answer.status == 200, f"{answer.status} {answer.body}"
        return dict(answer.body)

    def end_of(self, job_id: str, key: str | None = None, deadline_s: float = PATIENCE_S) -> dict[str, Any]:
        """The same, when the job has ended; what went to plain Celery is shown from when a worker has taken it."""

        def ended() -> dict[str, Any] | None:
            if self.http("GET", f"/v1/jobs/{job_id}", key=key).status == 404:
                return None
            job = self.job(job_id, key)
            return job if job["status"] in ENDED else None

        return until(f"job {job_id} has ended", ended, deadline_s)

    def listen(self, job_id: str) -> Listening:
        """Follow a job's events."""
        assert self.api is not None, "serve() first"
        return Listening(self.api.port or 0, f"/v1/jobs/{job_id}/events")

    def key(self, name: str, *options: str) -> str:
        """A new API key."""
        made = self.cli("keys", "create", name, *options)
        assert made.returncode == 0, made.stderr
        found = re.search(r"im_\S+", made.stdout)
        assert found is not None, made.stdout
        return found[0]

    def celery(self, **options: Any) -> Celery:
        """Somebody else's Celery, as README has it."""
        return self._cleanup.enter_context(celery_sender(self.redis_server.url, **options))

    def redis(self) -> redis.Redis:
        """A connection of the test's own."""
        client = redis.Redis.from_url(self.redis_server.url, decode_responses=True)
        self._cleanup.callback(client.close)
        return client

    def objects(self, job_id: str) -> list[Path]:
        """All files in the store that belong to a job."""
        folders = (self.s3_server.folder / BUCKET).glob(f"*/*/*/{job_id}")
        return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
