"""
What can go wrong with storage.

    StorageError
    ├── StorageUnavailable    the store cannot be reached, or fails: try again
    ├── StorageMisconfigured  wrong keys, no such bucket, a bad setting: a person has to act
    ├── ObjectRefused         the store takes objects, but not this one
    ├── ObjectNotFound        no object of that key
    ├── ObjectTooLarge        it is larger than what asked for it takes
    └── NotSupported          this store has no such thing
"""

from __future__ import annotations


class StorageError(Exception):
    """Base of all storage errors; its text is a sentence for a person."""


class StorageUnavailable(StorageError):
    """The store cannot be reached, answers 5xx or asks to slow down; the same call may succeed later."""


class StorageMisconfigured(StorageError):
    """The store refuses what it will refuse again."""


class ObjectRefused(StorageError):
    """The store refuses this object, and takes others: it is the object's own doing."""


class ObjectNotFound(StorageError):
    """The store has no object of that key."""


class ObjectTooLarge(StorageError):
    """The object has more bytes than whoever asked for it takes."""


class NotSupported(StorageError):
    """The store does not do what others do."""
