"""Files that callers have uploaded, as they lie in the store: found by their ids alone, and in no folder of a day."""

from __future__ import annotations

from collections.abc import Sequence

from storage.keys import input_key
from storage.store import Store, Upload


class Inputs:
    """The uploaded files of one store. Safe to use from many threads, as the store is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._is_prepared = False

    def key(self, file_id: str) -> str:
        """Key of the object of a file."""
        return input_key(self._store.settings.prefix, file_id)

    def upload(self, file_id: str, content_type: str) -> Upload:
        """
        Store a file that comes in pieces; see `Store.upload`. The first that comes may find no bucket yet.

        Raises:
            StorageUnavailable, StorageMisconfigured
        """
        if not self._is_prepared:
            self._store.prepare()
            self._is_prepared = True
        return self._store.upload(self.key(file_id), content_type)

    def read(self, file_id: str, max_bytes: int | None = None) -> bytes:
        """Read a file. Raises as `Store.get` does."""
        return self._store.get(self.key(file_id), max_bytes)

    def size(self, file_id: str) -> int:
        """How many bytes it has. Raises as `Store.size` does."""
        return self._store.size(self.key(file_id))

    def delete(self, file_ids: Sequence[str]) -> None:
        """Take files away; those that are not there are no error. Raises as `Store.delete_many` does."""
        self._store.delete_many([self.key(each) for each in file_ids])

    def clear(self, file_id: str) -> None:
        """The same of a file whose upload may have been cut off: what was begun of it goes, too."""
        self._store.delete(self.key(file_id))
        self._store.drop_uploads(self.key(file_id))
