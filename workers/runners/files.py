"""What a job made, as files on their way into the store."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFile:
    """
    One whole file, ready to be stored.

    Attributes:
        body: All of it.
        extension: Of its key, without the dot.
        meta: What its artifact says of it beside its key, type and size: of a picture its width, height and seed.
        thumbnail: A whole WebP of it, if one was asked for.
        name: Of its kind's choice; empty where it has but one sort.
    """

    body: bytes
    extension: str
    content_type: str
    meta: dict[str, Any] = field(default_factory=dict)
    thumbnail: bytes | None = None
    name: str = ""

    @property
    def size_bytes(self) -> int:
        """Of the file, with its thumbnail."""
        return len(self.body) + len(self.thumbnail or b"")

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()
