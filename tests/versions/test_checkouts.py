"""Where the previous version comes from, and what is said where it cannot be had."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.versions.checkouts import HistoryMissing, Version, check_out, is_cut_off, previous_commit

GIT = shutil.which("git")


@pytest.mark.skipif(GIT is None, reason="there is no git here")
def test_checkout_without_the_commit_says_how_to_fetch_it(tmp_path: Path) -> None:
    assert GIT is not None
    subprocess.run([GIT, "init", "--quiet", str(tmp_path)], check=True)
    assert not is_cut_off(tmp_path)
    with pytest.raises(HistoryMissing, match=r"not in this checkout: fetch the history with `git fetch --unshallow`"):
        check_out(tmp_path, previous_commit(), tmp_path / "previous")


def test_source_archive_has_no_history(tmp_path: Path) -> None:
    assert is_cut_off(tmp_path)


@pytest.mark.skipif(GIT is None, reason="there is no git here")
def test_shallow_clone_has_not_all_of_it(tmp_path: Path) -> None:
    assert GIT is not None
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([GIT, "init", "--quiet", str(origin)], check=True)
    for message in ("one", "two"):
        subprocess.run([GIT, "-C", str(origin), *who, "commit", "--quiet", "--allow-empty", "-m", message], check=True)
    subprocess.run([GIT, "clone", "--quiet", "--depth", "1", f"file://{origin}", str(clone)], check=True)
    assert is_cut_off(clone)
    assert not is_cut_off(origin)


def test_each_version_runs_its_own_code(versions: dict[str, Version]) -> None:
    program = (
        "import jobs, producer, workers; print(*(each.__path__[0] for each in (jobs, producer, workers)), sep='\\n')"
    )
    for version in versions.values():
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": str(version.checkout)},
            cwd=version.checkout,
            capture_output=True,
            text=True,
            check=True,
        )
        assert {Path(line).parent for line in done.stdout.splitlines()} == {version.checkout}
