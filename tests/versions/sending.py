"""A process that submits jobs as one version does, and what it was told of their ends."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.process import Process
from tests.faults.harness.waiting import until

UNHEARD = "celery, unheard"
_PROGRAM = Path(__file__).with_name("sender.py")
_LEAVES_S = 180.0  # Its round may have jobs of a worker that was killed.


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a job ended, as its producer was told."""

    status: str
    sha256: list[str]


class Sender(Process):
    """
    `sender.py` with a version's code.

    Attributes:
        door: One of those in `sender.py`.
        lines: All that it has printed.
    """

    grace_s = 10.0

    def __init__(self, door: str, env: Mapping[str, str], checkout: Path, rounds: int, jobs: int) -> None:
        super().__init__(f"sender by {door}", env=env, cwd=checkout)
        self.door = door
        self._args = [door, str(rounds), str(jobs)]
        self.lines: list[str] = []

    def command(self) -> list[str]:
        return [sys.executable, str(_PROGRAM), *self._args]

    def start(self, _on_line: Callable[[str], None] | None = None) -> None:
        super().start(self.lines.append)

    def is_ready(self) -> bool:
        """Whether one of its jobs has ended."""
        return bool(self.ended)

    def finish(self, *, early: bool = False) -> None:
        """Wait until its rounds are over; `early`, the one that it is in."""
        if early and self.exit_code is None and self.pid is not None:
            os.kill(self.pid, signal.SIGTERM)
        until(f"the {self.name} is through", lambda: self.exit_code is not None, _LEAVES_S)
        failed = self.failure("failed") if self.exit_code else None
        self.stop()  # Joins what reads its output.
        assert failed is None, failed

    @property
    def is_told(self) -> bool:
        """Whether it waits for the ends of its jobs."""
        return self.door != UNHEARD

    @property
    def submitted(self) -> list[str]:
        """Ids of its jobs."""
        return [line["submitted"] for line in self._told() if "submitted" in line]

    @property
    def ended(self) -> dict[str, End]:
        """The end of each of its jobs that it has seen."""
        ended = (line for line in self._told() if "ended" in line)
        return {line["ended"]: End(status=line["status"], sha256=line["sha256"]) for line in ended}

    def _told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]
