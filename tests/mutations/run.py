"""
Runs the tests of the job table against each mutation of its scripts: make test-mutations.

A mutation that no test notices has survived, and the command fails. Names of mutations as arguments run these alone.

What takes long is imported once. Each mutation has a process of its own, forked from that, in which the script reads as
the mutation has it; no file is touched.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import cast

import pytest

from tests.mutations.listed import MUTATIONS
from tests.mutations.mutation import MACHINE, Mutation

_FOLDER = "tests/integration/jobs"
_OPTIONS = (
    *("-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=unshrunk"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # Of what is imported once, and asserts nothing.
)
_MOST_S, _LOOK_EVERY_S = 1800.0, 10.0
_AT_A_TIME = os.cpu_count() or 2
_WARM = ("hypothesis.stateful", "jobs.announce.celery", "jobs.broker.reconcile", "ops.servers", "producer")
_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """
    What became of a mutation.

    Attributes:
        noticed_by: The first test that failed; None where all passed.
        took_s: Seconds.
    """

    mutation: Mutation
    noticed_by: str | None
    took_s: float


class _FirstFailure:
    """A plugin of pytest."""

    def __init__(self) -> None:
        self.test = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.test:
            self.test = report.nodeid


def main(names: Sequence[str]) -> int:
    """The exit code: 0 where each mutation is noticed."""
    chosen = [each for each in MUTATIONS if not names or each.name in names]
    if unknown := set(names) - {each.name for each in MUTATIONS}:
        sys.stderr.write(f"there is no mutation {', '.join(sorted(unknown))}\n")
        return 2
    os.chdir(Path(__file__).resolve().parents[2])
    for module in _WARM:
        importlib.import_module(module)
    survivors = 0
    for outcome in _try_all(chosen):
        survivors += outcome.noticed_by is None
        _say(f"{outcome.mutation.name} ({outcome.took_s:.0f} s): {outcome.noticed_by or 'SURVIVED'}")
    _say(f"{len(chosen) - survivors} of {len(chosen)} mutations are noticed")
    return 1 if survivors else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _try_all(chosen: Sequence[Mutation]) -> Iterator[Outcome]:
    """As they end."""
    to_do, running = deque(chosen), dict[int, _Trial]()
    with tempfile.TemporaryDirectory(prefix="imagemill-mutations-") as folder:
        while to_do or running:
            while to_do and len(running) < _AT_A_TIME:
                trial = _Trial(to_do.popleft(), Path(folder))
                running[trial.process.sentinel] = trial
            for sentinel in wait(list(running), timeout=_LOOK_EVERY_S):
                yield running.pop(cast("int", sentinel)).outcome()
            for trial in running.values():
                trial.end_if_late()


class _Trial:
    """The tests with one mutation, in a process of its own."""

    def __init__(self, mutation: Mutation, folder: Path) -> None:
        self._mutation = mutation
        self._said, self._printed = folder / f"{mutation.name}.said", folder / f"{mutation.name}.printed"
        self._began = time.monotonic()
        self.process = _FORK.Process(target=_run, args=(mutation, self._said, self._printed))
        self.process.start()

    def outcome(self) -> Outcome:
        self.process.join()
        if not self._said.exists():
            raise RuntimeError(f"{self._mutation.name}:\n{self._printed.read_text('utf-8')[-4000:]}")
        noticed_by = self._said.read_text("utf-8")
        took_s = time.monotonic() - self._began
        return Outcome(mutation=self._mutation, noticed_by=noticed_by or None, took_s=took_s)

    def end_if_late(self) -> None:
        if time.monotonic() - self._began > _MOST_S:
            self.process.terminate()


def _run(mutation: Mutation, said: Path, printed: Path) -> None:
    """In that process: with the tests that should notice it, then the machine, then all. Writes which one did."""
    with printed.open("w", encoding="utf-8") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    _mutate(mutation)
    noticed_by = _first_failure((*mutation.tests, MACHINE)) or _first_failure((_FOLDER, f"--ignore={MACHINE}"))
    said.write_text(noticed_by, "utf-8")


def _mutate(mutation: Mutation) -> None:
    """Has this process read the script so."""
    scripts = importlib.import_module("jobs.scripts.scripts")
    read = scripts._read

    def read_mutated(*path: str) -> str:
        text: str = read(*path)
        return mutation.apply(text) if "/".join(path) == mutation.script else text

    scripts._read = read_mutated  # type: ignore[attr-defined]


def _first_failure(arguments: Sequence[str]) -> str:
    """The first test that fails; empty where all pass."""
    first = _FirstFailure()
    code = pytest.main([*_OPTIONS, *arguments], plugins=[first])
    if code == pytest.ExitCode.OK:
        return ""
    if code != pytest.ExitCode.TESTS_FAILED or not first.test:
        raise RuntimeError(f"pytest ended with {code}")
    return first.test


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
