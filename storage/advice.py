"""Advice for a person about a store that fails."""

from __future__ import annotations

from storage.errors import NotSupported, StorageError


class Advice:
    """Of a store that explains nothing. A backend that knows more says it in a class of its own."""

    def explain(self, exc: StorageError) -> tuple[str, str]:
        """What happened, and what to do about it."""
        return str(exc), "Check the store's log; try another client to see whether the store is the cause."

    def of_dead_links(self) -> tuple[bool, str]:
        """Of links that do not answer here: whether they may all the same answer callers, and what to do about it."""
        return False, "Let callers reach the store, or let the API serve the files: IMAGEMILL_API_IMAGE_LINKS=api."

    def alter(self, link: str) -> str:
        """
        The same link as a forger would make it, with another signature of the same form.

        Raises:
            NotSupported: Links are not signed.
        """
        raise NotSupported("links of this store are not signed")
