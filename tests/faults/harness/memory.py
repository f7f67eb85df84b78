"""A bound on the memory of a worker: by the kernel, for all of its processes together."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """
    What to run a command with.

    Attributes:
        prefix: Words in front of a command, which then runs within the bound.
        peak_file: Where the kernel writes the most that was used, in bytes; None where nobody counts.
    """

    prefix: tuple[str, ...]
    peak_file: Path | None = None

    @property
    def peak_mib(self) -> int | None:
        """The most memory that was used."""
        return None if self.peak_file is None else int(self.peak_file.read_text()) >> 20


@contextmanager
def bounded(max_bytes: int) -> Iterator[Bound]:
    """
    A control group of its own where we may make one (version 1 or 2), else a limit of each process' data segment.

    In a control group what goes too far is killed; under the limit its allocations fail.
    """
    for parent, limit, peak in (
        (_ROOT / "memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
        (_ROOT, "memory.max", "memory.peak"),
    ):
        group = parent / f"imagemill-{uuid.uuid4().hex[:8]}"
        try:
            group.mkdir()
            (group / limit).write_text(str(max_bytes))
        except OSError:
            with suppress(OSError):
                group.rmdir()
            continue
        shell = shutil.which("sh") or "/bin/sh"
        enter = f'echo $$ > {group}/cgroup.procs && exec "$@"'
        try:
            yield Bound(prefix=(shell, "-c", enter, shell), peak_file=group / peak)
        finally:
            with suppress(OSError):  # The kernel takes a moment to see that it is empty; it goes with the machine then.
                group.rmdir()
        return
    assert os.name == "posix", "neither control groups nor prlimit here"
    yield Bound(prefix=("prlimit", f"--data={max_bytes}"))
