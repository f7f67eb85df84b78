"""
`python -m tests.loaded`: runs tests/system again and again on a machine that is kept busy by others.

A deadline that a test sets has to hold there, too. Prints which tests failed, and in how many rounds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from ops.settings import CHECKOUT

_LOOP = [sys.executable, "-c", "while True: pass"]
_FAILED = ("FAILED ", "ERROR ")  # How the lines of pytest's summary begin.


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """
    One run of the tests.

    Attributes:
        code: That pytest ended with.
        failed: Names of the tests that failed or had an error.
    """

    code: int
    failed: list[str]
    took_s: float


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """For as long as this lasts, so many processes compute without an end."""
    running = []
    try:
        for _ in range(loops):
            running.append(subprocess.Popen(_LOOP))
        yield
    finally:
        for each in running:
            each.kill()
        for each in running:
            each.wait()


def run_once(tests: Sequence[str]) -> Round:
    """Run the tests in a process of their own; what pytest prints is printed."""
    began, failed = time.monotonic(), []
    command = [sys.executable, "-m", "pytest", "-m", "not long", "--tb=short", *tests]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            if line.startswith(_FAILED):
                failed.append(line.split()[1])
    return Round(code=running.returncode, failed=failed, took_s=time.monotonic() - began)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 where every round passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.loaded")
    parser.add_argument("--loops", type=int, default=12, help="processes that compute meanwhile")
    parser.add_argument("--rounds", type=int, default=3, help="how often the tests run")
    parser.add_argument("tests", nargs="*", default=["tests/system"], help="tests/system unless others are named")
    asked = parser.parse_args(arguments)
    with busy(asked.loops):
        rounds = [run_once(asked.tests) for _ in range(asked.rounds)]
    failures = Counter(name for each in rounds for name in set(each.failed))
    for name, times in failures.most_common():
        sys.stdout.write(f"failed in {times} of {len(rounds)} rounds: {name}\n")
    passed = sum(each.code == pytest.ExitCode.OK for each in rounds)
    took = ", ".join(f"{each.took_s:.0f}" for each in rounds)
    sys.stdout.write(f"{passed} of {len(rounds)} rounds passed beside {asked.loops} busy loops, in {took} s\n")
    return int(passed < len(rounds))


if __name__ == "__main__":
    sys.exit(main())
