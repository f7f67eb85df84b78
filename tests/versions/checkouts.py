"""The two versions that run side by side: this checkout, and the previous one out of the repository's own history."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("previous")


class HistoryMissing(Exception):
    """The previous version cannot be had here; the text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """
    One version, which runs from its checkout.

    Attributes:
        name: "previous" or "present".
        checkout: The folder that its processes run in and import from.
    """

    name: str
    checkout: Path


def previous_commit() -> str:
    """The full hash that the file `previous` names."""
    return FILE.read_text("utf-8").strip()


def is_cut_off(repository: Path) -> bool:
    """Whether the history is not here for good reason: a source archive has none, and a shallow clone not all of it."""
    if not (repository / ".git").exists():
        return True
    asked = _git(repository, "rev-parse", "--is-shallow-repository")
    return asked.returncode == 0 and asked.stdout.strip() == b"true"


def check_out(repository: Path, commit: str, folder: Path) -> None:
    """
    Put a commit's files into a folder.

    Raises:
        HistoryMissing: The repository has no such commit, or git does not read the repository.
    """
    archive = _git(repository, "archive", "--format=tar", commit)
    if archive.returncode != 0:
        raise HistoryMissing(
            f"the previous version, commit {commit}, is not in this checkout: fetch the history with "
            f"`git fetch --unshallow`, or the commit with `git fetch origin {commit}` "
            f"(git says: {archive.stderr.decode(errors='replace').strip()})"
        )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    git = shutil.which("git")
    if git is None:
        raise HistoryMissing("the previous version comes out of the history, and there is no git on the PATH")
    # Whoever owns the checkout, as where a container mounts it.
    command = [git, "-c", "safe.directory=*", "-C", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, check=False)
