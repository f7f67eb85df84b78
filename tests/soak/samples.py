"""What is looked at every few seconds, and written down: processes, Redis, the disk."""

from __future__ import annotations

import csv
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import redis

# What a series may rise by over the rounds that are judged, by its last word. A pool of connections keeps the most that
# were ever needed at once, up to its bound; the greatest is storage/backends/s3/connection.py's.
FLOORS = {"rss_mib": 2.0, "fds": 5, "threads": 2, "used_mib": 0.5, "disk_mib": 4.0, "entries": 50, "connections": 64}

_ONE_EACH = ("job", "events")  # Of these there are many, each of a bounded size.
_MIB = 1 << 20

Pids = Callable[[], Mapping[str, int | None]]


class Sampler(threading.Thread):
    """
    Writes a line for each value into a CSV file: seconds since the start, series, value.

    Attributes:
        series: The same, by series.
        begun: Its start, on the monotonic clock.

    Args:
        pids: The processes as they are at the moment, by what they are.
        pools: What listens on a port, for whatever keeps a pool of connections to it.
        folders: Whose bytes are counted, by what they are.
    """

    def __init__(
        self,
        file: Path,
        every_s: float,
        pids: Pids,
        pools: Callable[[], Mapping[int, str]],
        client: redis.Redis,
        folders: Mapping[str, Path],
    ) -> None:
        super().__init__(name="sampler", daemon=True)
        self.series: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._file, self._every_s = file, every_s
        self._pids, self._pools, self._redis, self._folders = pids, pools, client, folders
        self._stopping = threading.Event()
        self._kinds: set[str] = set()  # that Redis had at any time: of those that are gone it has 0
        self.begun = time.monotonic()
        self._failure: Exception | None = None

    def run(self) -> None:
        try:
            self._sample()
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is raised again
            self._failure = exc  # Raised where the results are asked for: without samples nothing is known.

    def _sample(self) -> None:
        with self._file.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("at_s", "series", "value"))
            while not self._stopping.wait(self._every_s):
                at_s = round(time.monotonic() - self.begun, 1)
                for name, value in self._look():
                    self.series[name].append((at_s, value))
                    writer.writerow((at_s, name, round(value, 3)))
                file.flush()

    def check(self) -> None:
        """Raises whatever has ended it."""
        if self._failure is not None:
            raise RuntimeError("nothing is sampled any more") from self._failure

    def stop(self) -> None:
        """Raises as `check` does."""
        self._stopping.set()
        self.join()
        self.check()

    def _look(self) -> Iterator[tuple[str, float]]:
        for role, pid in self._pids().items():
            if pid is not None:
                with suppress(psutil.Error):  # It has just ended.
                    yield from [(f"{role} {what}", value) for what, value in of_process(pid, self._pools()).items()]
        with suppress(redis.exceptions.RedisError):  # It is away for a moment.
            yield "redis used_mib", self._redis.info("memory")["used_memory"] / _MIB
            counted = entries(self._redis)
            self._kinds.update(counted)
            yield from [(f"redis {kind} entries", counted[kind]) for kind in sorted(self._kinds)]
        for what, folder in self._folders.items():
            yield f"{what} disk_mib", bytes_below(folder) / _MIB


def of_process(pid: int, pools: Mapping[int, str]) -> dict[str, float]:
    """
    Resident memory, threads, open files, and of these apart the connections to whatever has a pool of them.

    Args:
        pools: By port, what listens there.
    """
    process = psutil.Process(pid)
    ports = [each.raddr.port for each in process.net_connections("tcp") if each.raddr]
    pooled = Counter(pools[port] for port in ports if port in pools)
    opened = {"fds": process.num_fds() - pooled.total()} | {f"{name} connections": n for name, n in pooled.items()}
    return {"rss_mib": process.memory_info().rss / _MIB, "threads": process.num_threads(), **opened}


def entries(client: redis.Redis) -> Counter[str]:
    """Of all keys in Redis, by kind; a key that has no entries counts as one."""
    keys = sorted({str(key) for key in client.scan_iter(count=1_000)})  # SCAN may give one twice.
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.type(key)
    for key, kind in zip(keys, pipeline.execute(), strict=True):
        _ask_for_size(pipeline, key, kind if kind_of(key) not in _ONE_EACH else "string")
    counted: Counter[str] = Counter()
    for key, size in zip(keys, pipeline.execute(raise_on_error=False), strict=True):
        counted[kind_of(key)] += size if isinstance(size, int) else 0
    return counted


def kind_of(key: str) -> str:
    """What a key is of, without the name of the one job, caller or worker that it is of."""
    parts = key.split(":")
    if parts[0] == "imagemill" and len(parts) > 1:
        return parts[1]
    return next((each for each in ("celery-task-meta", "_kombu", "unacked") if key.startswith(each)), "celery lists")


def _ask_for_size(pipeline: Any, key: str, kind: str) -> None:
    {
        "hash": pipeline.hlen,
        "list": pipeline.llen,
        "set": pipeline.scard,
        "zset": pipeline.zcard,
        "stream": pipeline.xlen,
    }.get(kind, pipeline.exists)(key)


def bytes_below(folder: Path) -> int:
    """Of all files in a folder."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(path, name).stat().st_blocks * 512
    return total
