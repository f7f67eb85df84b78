"""The system that is soaked: each process known by what it is; what dies is started again, as a host does."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from jobs.process.settings import Settings
from ops.bench.api.attacks.records import IDLE
from ops.process import free_port
from ops.programs import Flower
from producer.client.parts import Parts, open_parts
from producer.keys.store import KeyStore
from storage.backends.s3.settings import S3Settings
from tests.blackbox.system import BUCKET, Command, System, simulated
from tests.faults.harness.s3_proxy import S3Proxy
from tests.processes import children_of

STEADY, OTHER = "steady worker", "other worker"

_AOF_MIN_SIZE = "4mb"  # So that its log is rewritten often: what it comes to between two rewrites is no growth.
_LOOK_S = 0.5


class Stage:
    """
    Redis, S3, the API, Flower, and two workers, of which one is never hurt itself.

    Attributes:
        parts: What an operator uses.
        proxies: Between each worker and S3.
        started_again: How often each worker was.

    Args:
        folder: For all of it.
        retention_s: How long records are kept; images as long.
    """

    def __init__(self, folder: Path, retention_s: int) -> None:
        self.folder, self._retention_s = folder, retention_s
        self._cleanup = ExitStack()
        for name in ("tmp", "cache"):
            (folder / name).mkdir(parents=True)
        env = {"IMAGEMILL_RETENTION_S": str(retention_s), "TMPDIR": str(folder / "tmp")}
        models = "".join(simulated(name, launch_s=0.01, row_s=0.005) for name in ("sim", IDLE))
        self.system = System(folder, folder / "cache", models, env)
        self.workers: dict[str, Command] = {}
        self.proxies: dict[str, S3Proxy] = {}
        self.started_again = {STEADY: 0, OTHER: 0}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._watching = [threading.Thread(target=each, daemon=True) for each in (self._keep_up, self._sweep)]

    def __enter__(self) -> Stage:
        with ExitStack() as cleanup:
            cleanup.enter_context(self.system)
            self.redis = self.system.redis()
            self.tidy_redis()
            self.system.serve()
            self.flower = Flower(self.folder / "flower" / "state", free_port(), self.system.env)
            cleanup.enter_context(self.flower)
            for name in (STEADY, OTHER):
                self.proxies[name] = S3Proxy(self.system.s3_server.port or 0)
                cleanup.callback(self.proxies[name].close)
                self._start(name, is_ready=True)
            settings = Settings(
                redis_url=self.system.redis_server.url,
                retention_s=self._retention_s,
                models_file=self.folder / "models.toml",
            )
            self.parts: Parts = open_parts(
                settings, S3Settings(endpoint_url=self.system.s3_server.endpoint, bucket=BUCKET)
            )
            cleanup.callback(self.parts.close)
            self.keys = KeyStore(self.parts.redis, settings)
            for thread in self._watching:
                thread.start()
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for thread in self._watching:
            thread.join()
        self._cleanup.close()

    def pids(self) -> Mapping[str, int | None]:
        """Each process, by what it is."""
        api = self.system.api
        found = {"redis": self.system.redis_server.pid, "s3": self.system.s3_server.pid, "flower": self.flower.pid}
        found["api"] = api.pid if api else None
        for name, worker in list(self.workers.items()):
            found[f"{name}'s supervisor"] = worker.pid
            found[name] = next(iter(children_of(worker.pid or 0)), None)
        return found

    def pools(self) -> Mapping[int, str]:
        """What listens on a port, of those that processes keep connections to."""
        system = self.system
        stores = dict.fromkeys([system.s3_server.port or 0, *(each.port for each in self.proxies.values())], "store")
        return stores | {system.redis_server.port or 0: "redis"}

    @property
    def folders(self) -> Mapping[str, Path]:
        """Whose bytes are counted: all but the images, which are the store's to forget."""
        return {name: self.folder / name for name in ("tmp", "spool", "redis", "flower")}

    def key(self, name: str) -> str:
        """A key's token; the key itself is the same each time, for keys are never forgotten."""
        known = self.keys.keys()
        if any(each.name == name for each in known):
            return self.keys.rotate(name)[0]
        return self.keys.create(name)[0]

    def kill(self, name: str) -> None:
        """SIGKILL of a worker, with all of its processes."""
        with self._lock:
            os.killpg(self.workers[name].pid or 0, signal.SIGKILL)

    def terminate(self, name: str) -> None:
        """SIGTERM, as a host that stops."""
        with self._lock:
            os.kill(self.workers[name].pid or 0, signal.SIGTERM)

    def restart_redis(self) -> None:
        """Gone, and here again with what it had."""
        self.system.redis_server.stop()
        self.system.redis_server.start()
        self.system.redis_server.wait_until_ready()
        self.tidy_redis()

    def tidy_redis(self) -> None:
        """As it is to be."""
        self.redis.config_set("maxmemory", 0)
        self.redis.config_set("auto-aof-rewrite-min-size", _AOF_MIN_SIZE)

    @contextmanager
    def full_redis(self, share: float | None) -> Iterator[None]:
        """Redis has just this share of what it may have in use; None for any."""
        if share is None:
            yield
            return
        self.redis.config_set("maxmemory", int(self.redis.info("memory")["used_memory"] / share))
        try:
            yield
        finally:
            self.redis.config_set("maxmemory", 0)

    def _start(self, name: str, *, is_ready: bool = False) -> None:
        env = self.proxies[name].env | {"IMAGEMILL_WORKER_GRACE_S": "10"}
        self.workers[name] = self.system.worker("--model", "sim", "--concurrency", "6", env=env, is_ready=is_ready)

    def _keep_up(self) -> None:
        while not self._closing.wait(_LOOK_S):
            for name, worker in list(self.workers.items()):
                if worker.exit_code is not None and not self.proxies[name].answer_put:
                    with self._lock:
                        self.system.commands.remove(worker)
                        self._start(name)
                    self.started_again[name] += 1

    def _sweep(self) -> None:
        """Forget images as a store does that was told for how long to keep them."""
        bucket = self.system.s3_server.folder / BUCKET
        while not self._closing.wait(self._retention_s / 4):
            oldest = time.time() - self._retention_s
            for path in bucket.rglob("*"):
                if path.is_file() and path.stat().st_mtime < oldest:
                    path.unlink(missing_ok=True)
