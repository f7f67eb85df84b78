"""
Whose files are what processes of ours write: their user's own.

Prompts, pictures, passwords and logs lie in them, and a machine has other users.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

PRIVATE_UMASK = 0o077  # neither group nor others read, write or enter


@contextmanager
def private_files() -> Iterator[int]:
    """
    Whatever this process and those that it starts create meanwhile is for their user alone.

    For the whole process, threads too: of a process that runs until it ends, not of a library in somebody's program.

    Yields:
        The umask before, for what is started for the user and writes where the user says.
    """
    before = os.umask(PRIVATE_UMASK)
    try:
        yield before
    finally:
        os.umask(before)
