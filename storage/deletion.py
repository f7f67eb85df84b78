"""Deletes all that a job has stored, whichever of its attempts did: what lies in its folder of the day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from storage.keys import job_folder
from storage.store import Store


class JobObjects:
    """The objects of jobs in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def delete(self, job_id: str, created_at: float, keys: Sequence[str] = ()) -> int:
        """
        Delete all objects of a job, images, thumbnails and `job.json` of every attempt. Returns how many there were.

        Args:
            created_at: When it was submitted, Unix time, seconds.
            keys: Of its objects that are known. Where they lie in another folder, the prefix was another one then, and
                all is deleted that is there of the job.

        Raises:
            StorageUnavailable, StorageMisconfigured: Some may be left.
        """
        own = f"{job_folder(self._store.settings.prefix, job_id, created_at)}/"
        folders = dict.fromkeys([own, *(_folder_in(key, job_id) for key in keys)])
        found = dict.fromkeys(key for folder in folders for key in self._below(folder))
        if found:
            self._store.delete_many(list(found))
        return len(found)

    def _below(self, folder: str) -> Iterator[str]:
        """Keys in a folder, which ends with a slash; or the one of that name."""
        found = (each.key for each in self._store.objects(folder))
        return (key for key in found if key == folder or folder.endswith("/"))


def _folder_in(key: str, job_id: str) -> str:
    """Where all attempts at a job write, by a key of one; the whole key, where it is none."""
    folder = key.rsplit("/", 2)[0]
    return f"{folder}/" if folder.rpartition("/")[2] == job_id else key
