"""
Loaded by each Python that has this folder on its path: breaks libraries while a file is there, and not the product.

redis-py breaks in threads: tasks and the main thread are spared, for those have callers of their own.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

INSIDE = "/srv/models/secret-model/vae/config.json"
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


def _break_libraries(file: Path) -> None:
    """While the file is there: numpy fails where it says "numpy", Pillow where it says "pillow"; each names a path."""
    import numpy as np
    from PIL import Image

    def struck(what: str) -> bool:
        return file.exists() and file.read_text() == what

    generator: Any = np.random.default_rng
    save: Any = Image.Image.save

    def generator_or_fail(*args: Any, **fields: Any) -> Any:
        if struck("numpy"):
            raise RuntimeError(f"{INSIDE}: cannot reach tcp://10.9.8.7:6379")
        return generator(*args, **fields)

    def save_or_fail(*args: Any, **fields: Any) -> Any:
        if struck("pillow"):
            raise OSError(28, "No space left on device", INSIDE)
        return save(*args, **fields)

    np.random.default_rng = generator_or_fail
    Image.Image.save = save_or_fail  # type: ignore[method-assign]


if "BREAK_LIBRARIES_WHILE" in os.environ:
    _break_libraries(Path(os.environ["BREAK_LIBRARIES_WHILE"]))
