"""Deletes all that a job has stored, whichever of its attempts did: what lies in its folder of the day."""

from __future__ import annotations

from storage.keys import job_folder
from storage.store import Store


class JobObjects:
    """The objects of jobs in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def delete(self, job_id: str, created_at: float) -> int:
        """
        Delete all objects of a job, images, thumbnails and `job.json` of every attempt. Returns how many there were.

        Args:
            created_at: When it was submitted, Unix time, seconds.

        Raises:
            StorageUnavailable, StorageMisconfigured: Some may be left.
        """
        folder = job_folder(self._store.settings.prefix, job_id, created_at)
        keys = [each.key for each in self._store.objects(f"{folder}/")]
        if keys:
            self._store.delete_many(keys)
        return len(keys)
