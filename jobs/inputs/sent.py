"""Files that came with a job go when its result is deleted; those that were uploaded by themselves stay."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.errors import FileInUse, FileNotFound
from jobs.inputs.files import Files
from jobs.inputs.find import FETCHED, SENT, InputStore


class SentInputs:
    """Of one process."""

    def __init__(self, files: Files, in_store: InputStore) -> None:
        self._files = files
        self._in_store = in_store

    def forget(self, job_id: str, file_ids: Sequence[str]) -> None:
        """
        Delete those of a job's files that came with it, or with another of its caller, and that no job needs now.

        Raises:
            RedisUnavailable, and the store's own errors: It is to be tried again.
        """
        del job_id
        for file_id in file_ids:
            try:
                if self._files.get(file_id, None).purpose not in (SENT, FETCHED):
                    continue
                self._files.delete(file_id, None)
            except (FileNotFound, FileInUse):
                continue
            self._in_store.delete([file_id])
            self._files.forget(file_id)
