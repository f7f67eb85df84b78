"""A real worker process under test: its supervisor, its Celery child, what they print, and how they are hurt."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jobs.names import line_of
from ops.process import Process
from ops.settings import CHECKOUT
from tests.faults.harness.waiting import until
from tests.processes import children_of
from workers.process.parent.launch import _command as celery_command

INJECTION = Path(__file__).resolve().parent.parent / "injection"

Faults = Mapping[str, Mapping[str, object]]  # name of a fault in `injection`, and its arguments


def with_faults(env: Mapping[str, str], faults: Faults | None, evidence: Path) -> dict[str, str]:
    """The environment of a process that loads `injection/sitecustomize.py`; what strikes is noted in `evidence`."""
    if not faults:
        return dict(env)
    path = os.pathsep.join([str(INJECTION), env["PYTHONPATH"]])
    return {**env, "PYTHONPATH": path, "FAULTS": json.dumps(faults), "FAULTS_EVIDENCE": str(evidence)}


class WorkerUnderTest(Process):
    """
    `./imagemill worker`, of this checkout or another; or, `alone`, the Celery process without its supervisor.

    Attributes:
        lines: Everything that it has printed.
    """

    grace_s = 30.0

    def __init__(
        self,
        env: Mapping[str, str],
        *,
        queues: Sequence[str],
        alone: bool = False,
        prefix: Sequence[str] = (),
        checkout: Path = CHECKOUT,
    ) -> None:
        super().__init__("worker", env=env, cwd=checkout)
        self._alone = alone
        self._prefix = list(prefix)
        self._queues = list(queues)
        self.lines: list[str] = []

    def command(self) -> list[str]:
        """As `make up` starts it, or as its supervisor starts the child."""
        own = (
            celery_command([line_of(each) for each in self._queues])
            if self._alone
            else [sys.executable, "-m", "ops.cli", "worker"]
        )
        return [*self._prefix, *own]

    def start(self, on_line: Callable[[str], None] | None = None) -> None:
        """Start it, and keep what it prints."""

        def keep(line: str) -> None:
            self.lines.append(line)
            if on_line:
                on_line(line)

        super().start(keep)

    def is_ready(self) -> bool:
        """Whether its present child takes jobs: Celery says so when it has connected."""
        return self._find_owner() is not None

    def printed(self, text: str) -> int:
        """How many of its lines hold this text."""
        return sum(text in line for line in list(self.lines))

    @property
    def child_pid(self) -> int:
        """Process id of the Celery process that holds the engine."""
        assert self.pid is not None, "the worker was not started"
        if self._alone:
            return self.pid
        return until("the supervisor has a child", lambda: next(iter(children_of(self.pid or 0)), None))

    @property
    def owner(self) -> str:
        """Its present child's name in Celery, as it stands in the job table; said when it takes jobs."""
        return until("the child has said its name", self._find_owner)

    def _find_owner(self) -> str | None:
        said = re.search(r"(worker@\S+) ready", "\n".join(self._lines_of_child()))
        return said and said[1]

    def _lines_of_child(self) -> list[str]:
        lines = list(self.lines)
        return lines[max((at for at, line in enumerate(lines) if "starting another" in line), default=-1) + 1 :]

    def kill(self) -> None:
        """SIGKILL, to supervisor and child at once: the machine is gone."""
        assert self.pid is not None and self.exit_code is None, "the worker is not running: nothing to kill"
        os.killpg(self.pid, signal.SIGKILL)
        until("the killed worker is gone", lambda: self.exit_code is not None)
        assert self.exit_code == -signal.SIGKILL, f"it ended by itself, with code {self.exit_code}"

    def signal_child(self, number: signal.Signals) -> int:
        """Send a signal to the Celery process; returns its process id."""
        pid = self.child_pid
        os.kill(pid, number)
        return pid

    def terminate(self) -> None:
        """SIGTERM to the supervisor, as an init system or Kubernetes does."""
        assert self.pid is not None and self.exit_code is None, "the worker is not running: nothing to stop"
        os.kill(self.pid, signal.SIGTERM)
