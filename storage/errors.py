"""
What can go wrong with storage.

    StorageError
    ├── StorageUnavailable    the store cannot be reached, or fails: try again
    ├── StorageMisconfigured  wrong keys, no such bucket, a bad setting: a person has to act
    ├── ObjectRefused         the store takes objects, but not this one
    ├── ObjectNotFound        no object of that key
    ├── ObjectTooLarge        it is larger than the caller accepts
    └── NotSupported          this store has no such thing
"""

from __future__ import annotations


class StorageError(Exception):
    """Base of all storage errors; its text is a sentence for a person."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class StorageUnavailable(StorageError):
    """The store cannot be reached, answers 5xx or asks to slow down; the same call may succeed later."""


class StorageMisconfigured(StorageError):
    """The store refuses every time, until a person changes something."""


class ObjectRefused(StorageError):
    """The store refuses this object and takes others."""


class ObjectNotFound(StorageError, LookupError):
    """The store has no object of that key."""


class ObjectTooLarge(StorageError, OverflowError):
    """The object has more bytes than the caller accepts."""


class NotSupported(StorageError):
    """The store does not support this operation."""
