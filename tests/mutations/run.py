"""
Runs the tests of the job table against each mutation of its scripts, in a copy of this checkout: make test-mutations.

A mutation that no test notices has survived, and the command fails. Names of mutations as arguments run these alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutations.listed import MUTATIONS, Mutation

_CHECKOUT = Path(__file__).resolve().parents[2]
_SCRIPTS = Path("jobs/scripts/lua")
_COPIED = ("jobs", "storage", "producer", "workers", "ops", "tests", "pyproject.toml", "models.toml", "imagemill")
_TESTS = "tests/integration/jobs"
_MOST_S = 900
_AT_A_TIME = max(1, (os.cpu_count() or 2) // 2)
_FAILED = 1  # of pytest: tests ran, and some failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """
    What became of a mutation.

    Attributes:
        noticed_by: The first test that failed; None where all passed.
    """

    mutation: Mutation
    noticed_by: str | None


def main(names: Sequence[str]) -> int:
    """The exit code: 0 where each mutation is noticed."""
    chosen = [each for each in MUTATIONS if not names or each.name in names]
    if unknown := set(names) - {each.name for each in MUTATIONS}:
        sys.stderr.write(f"there is no mutation {', '.join(sorted(unknown))}\n")
        return 2
    survivors = 0
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for outcome in pool.map(_try, chosen):
            survivors += outcome.noticed_by is None
            _say(f"{outcome.mutation.name}: {outcome.noticed_by or 'SURVIVED'}")
    _say(f"{len(chosen) - survivors} of {len(chosen)} mutations are noticed")
    return 1 if survivors else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _try(mutation: Mutation) -> Outcome:
    """With the tests that should notice it, and with all where these do not."""
    with tempfile.TemporaryDirectory(prefix="imagemill-mutation-") as folder:
        checkout = Path(folder)
        _copy(checkout)
        script = checkout / _SCRIPTS / mutation.script
        script.write_text(mutation.apply(script.read_text("utf-8")), "utf-8")
        noticed_by = _first_failure(checkout, mutation.tests) or _first_failure(checkout, (_TESTS,))
        return Outcome(mutation=mutation, noticed_by=noticed_by)


def _copy(checkout: Path) -> None:
    for name in _COPIED:
        source = _CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
        else:
            shutil.copy2(source, checkout / name)


def _first_failure(checkout: Path, tests: Sequence[str]) -> str | None:
    if not tests:
        return None
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "--hypothesis-profile=unshrunk",
        *tests,
    ]
    env = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, check=False, timeout=_MOST_S)
    if done.returncode == 0:
        return None
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    if done.returncode != _FAILED or not failed:
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return failed[0].split(" - ")[0].partition(" ")[2]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
