"""
Loaded by each Python that has this folder on its path: breaks redis-py in threads, while a file is there.

What breaks is the library, not the product; tasks and the main thread are spared, for those have callers of their own.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

_SPARED = ("MainThread", "ThreadPoolExecutor", "asyncio")


def _break_redis(file: Path) -> None:
    from redis.connection import AbstractConnection

    send: Any = AbstractConnection.send_packed_command

    def send_or_fail(self: Any, *args: Any, **fields: Any) -> Any:
        if not threading.current_thread().name.startswith(_SPARED) and file.exists():
            raise RuntimeError("nobody foresaw this")
        return send(self, *args, **fields)

    AbstractConnection.send_packed_command = send_or_fail  # type: ignore[method-assign]


if "BREAK_REDIS_WHILE" in os.environ:
    _break_redis(Path(os.environ["BREAK_REDIS_WHILE"]))
