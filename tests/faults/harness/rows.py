"""Records what each row of the fault table came to: a line on the terminal, and `build/faults.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import median

from filelock import FileLock

from jobs.table.states import Status
from ops.settings import CHECKOUT
from producer import Job
from tests.faults.harness.audit import audit
from tests.faults.harness.system import System

FILE = CHECKOUT / "build" / "faults.json"


class Row:
    """One row: what was done to the system, and what became of its jobs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._fields: dict[str, object] = {}

    def close(self, system: System, jobs: Sequence[Job], injected: int, recovered_s: Sequence[float] = ()) -> None:
        """
        Audit the jobs and note the row.

        Args:
            injected: How many times the fault struck, by its own evidence; a row without is no row.
            recovered_s: Seconds from the fault until all was well again, each.
        """
        assert injected > 0, f"the fault was not injected: {self.name}"
        ended = audit(system, jobs)
        self._fields |= {
            "injected": injected,
            "submitted": len(jobs),
            "finished": ended[Status.SUCCEEDED],
            "failed": ended[Status.FAILED],
            "canceled": ended[Status.CANCELED],
            "attempts": sum(system.counts(job).attempts for job in jobs),
            "claims": sum(system.counts(job).epoch for job in jobs),
            "duplicates_refused": sum(worker.printed("job taken by another attempt") for worker in system.workers),
        }
        if recovered_s:
            seconds = {"max_s": round(max(recovered_s), 2), "median_s": round(median(recovered_s), 2)}
            self._fields |= {"recovered": seconds}
        self._write()

    def note(self, **fields: object) -> None:
        """Add what only this row has."""
        self._fields |= fields

    def _write(self) -> None:
        print(f"\n{self.name}: " + ", ".join(f"{name} {value}" for name, value in self._fields.items()))  # noqa: T201
        FILE.parent.mkdir(exist_ok=True)
        with FileLock(FILE.with_suffix(".lock")):
            rows: dict[str, object] = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
            rows[self.name] = self._fields
            FILE.write_text(json.dumps(rows, indent=2, ensure_ascii=False), "utf-8")
