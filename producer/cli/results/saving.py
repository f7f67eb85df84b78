"""
Where `--out` saves what a job made.

It is looked at before anything is queued: a job whose picture cannot be saved would run for nothing. What goes wrong
later all the same, for a disk fills up, is said in a sentence.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.errors import InvalidRequest

_FIELD = "out"


def check_file(out: Path) -> None:
    """Raises `InvalidRequest` where no file can be written under this name."""
    with saving(out):
        if out.is_dir():
            raise InvalidRequest(_FIELD, f"{out} is a folder: name a file in it, as {out / 'picture.png'}")
        folder = out.absolute().parent
        _check_folder(folder)
        _check_right(out if out.exists() else folder, out)


def make_folder(out: Path) -> None:
    """Make a folder for many files, if need be. Raises `InvalidRequest` where none can be written there."""
    with saving(out):
        if out.exists() and not out.is_dir():
            raise InvalidRequest(_FIELD, f"{out} is a file: with --file, name a folder")
        out.mkdir(parents=True, exist_ok=True)
        _check_right(out, out)


@contextmanager
def saving(path: Path, then: str = "") -> Iterator[None]:
    """Raise `InvalidRequest` for what the disk refuses; `then` says what there is to be done."""
    try:
        yield
    except OSError as exc:
        raise InvalidRequest(_FIELD, f"cannot write {path}: {exc.strerror or exc}{then}") from exc


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise InvalidRequest(_FIELD, f"there is no folder {folder}")
    if not folder.is_dir():
        raise InvalidRequest(_FIELD, f"{folder} is no folder")


def _check_right(there: Path, out: Path) -> None:
    if not os.access(there, os.W_OK):
        raise InvalidRequest(_FIELD, f"cannot write {out}: this user may not")
