"""
Images that nobody will ever be shown: of attempts that were never published.

What is judged is a whole folder of an attempt. It is an orphan where all of this holds:

- Its newest object is older than an age that is far longer than any upload takes. So what a worker stores right now is
  left alone, whatever Redis says, and whichever Redis is asked.
- Its job does not run or wait. One that does may still publish this folder.
- Where the job's record is there: it names no object of this folder, and nothing in it is of a newer version, which may
  name images in a way of its own.
- Where the record is gone, which it is a week after the job's end: the folder has no `job.json`. An attempt writes that
  after all images and before it publishes, so whatever was published once has it, and is kept for as long as images
  are kept.

The store is listed before Redis is asked: an attempt that publishes in between is seen as published.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from jobs.table.reader import JobReader
from jobs.table.record import JobRecord
from storage.keys import ParsedKey, parse_key, root_of
from storage.store import Store, StoredObject

MIN_AGE_S = 3600.0
_ASKED_AT_ONCE = 500


@dataclass(slots=True, kw_only=True)
class Folder:
    """
    Where one attempt wrote, as far as the listing shows.

    Attributes:
        newest_at: When its newest object was uploaded; Unix time, seconds.
        is_complete: Whether it has `job.json`.
    """

    path: str
    job_id: str
    objects: list[StoredObject] = field(default_factory=list)
    newest_at: float = 0.0
    is_complete: bool = False

    def add(self, stored: StoredObject, key: ParsedKey) -> None:
        """Take in one more of its objects."""
        self.objects.append(stored)
        self.newest_at = max(self.newest_at, stored.modified_at)
        self.is_complete = self.is_complete or key.is_manifest


def find_orphans(store: Store, reader: JobReader, now: float, min_age_s: float) -> Iterator[Folder]:
    """
    Folders of attempts that were never published and never will be.

    Args:
        store: Only what lies under its prefix, in our layout, is looked at.
        reader: The job table.
        now: Unix time, seconds.
        min_age_s: What has an object younger than this is left alone.

    Raises:
        StorageUnavailable, StorageMisconfigured, RedisUnavailable
    """
    old = (folder for folder in _folders(store) if folder.newest_at < now - min_age_s)
    while some := list(islice(old, _ASKED_AT_ONCE)):
        ids = list({folder.job_id for folder in some})
        records = {record.id: record for record in reader.get_many(ids)}
        # A record that only a newer version can read is there, too; so is one whose status alone is asked for last.
        there = {job_id for job_id, status in zip(ids, reader.statuses(ids), strict=True) if status is not None}
        for folder in some:
            if is_orphan(folder, records.get(folder.job_id), is_known=folder.job_id in there):
                yield folder


def is_orphan(folder: Folder, record: JobRecord | None, *, is_known: bool) -> bool:
    """
    Whether a folder that is old enough was never published.

    Args:
        folder: As it was listed before the record was read.
        record: Of its job; None where there is none, or none that this version can read.
        is_known: Whether there is any record.
    """
    if record is None:
        return not is_known and not folder.is_complete
    if not record.has_ended or record.is_partial:
        return False
    named = [key for made in record.artifacts for key in (made.key, made.thumbnail_key) if key]
    return not any(key.startswith(f"{folder.path}/") for key in named)


def _folders(store: Store) -> Iterator[Folder]:
    """Objects by their folder, which come one after the other, for keys are listed in order."""
    folder: Folder | None = None
    for stored, key in _ours(store, store.objects(root_of(store.settings.prefix))):
        if folder is None or folder.path != key.folder:
            if folder is not None:
                yield folder
            folder = Folder(path=key.folder, job_id=key.job_id)
        folder.add(stored, key)
    if folder is not None:
        yield folder


def _ours(store: Store, objects: Iterable[StoredObject]) -> Iterator[tuple[StoredObject, ParsedKey]]:
    for stored in objects:
        key = parse_key(store.settings.prefix, stored.key)
        if key is not None:
            yield stored, key
