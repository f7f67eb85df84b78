"""Files that came with a job go when its result is deleted; those that were uploaded by themselves stay."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from jobs.errors import FileNotFound
from jobs.inputs.files import Files
from jobs.inputs.holding import FETCHED, SENT
from jobs.inputs.stored import InputStore, StoredFiles


class SentInputs:
    """Of one process."""

    def __init__(self, files: Files, in_store: InputStore) -> None:
        self._files = files
        self._stored = StoredFiles(files, in_store)

    def forget(self, job_id: str, file_ids: Sequence[str]) -> None:
        """
        Delete those of a job's files that came with it, or with another of its caller, and that no job needs now.

        Raises:
            RedisUnavailable, and the store's own errors: It is to be tried again.
        """
        del job_id
        for file_id in file_ids:
            with suppress(FileNotFound):
                if self._files.get(file_id, None).purpose in (SENT, FETCHED):
                    self._stored.delete(file_id)
