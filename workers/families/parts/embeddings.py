"""What prompts are encoded to, kept so that the same prompt is encoded once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from cachetools import LRUCache

Embedding = tuple[torch.Tensor, ...]


@dataclass(slots=True, kw_only=True)
class CacheCounts:
    """Of lookups since the start."""

    hits: int = 0
    misses: int = 0


class EmbeddingCache:
    """
    The embeddings used last, up to a number of bytes.

    Args:
        max_bytes: Of all tensors that it holds; a single embedding above it is passed through and not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._kept: LRUCache[Hashable, Embedding] = LRUCache(max_bytes, getsizeof=_size_bytes)
        self._lock = threading.Lock()
        self.counts = CacheCounts()

    @property
    def size_bytes(self) -> int:
        """Of all that it holds now."""
        return int(self._kept.currsize)

    def get_many(
        self, keys: Sequence[Hashable], encode: Callable[[list[Hashable]], list[Embedding]]
    ) -> list[Embedding]:
        """
        The embeddings of these keys.

        Args:
            encode: Makes those that are not here, each key once.
        """
        with self._lock:
            found = {key: self._kept[key] for key in keys if key in self._kept}
            missing = list(dict.fromkeys(key for key in keys if key not in found))
            self.counts.hits += len(keys) - len(missing)
            self.counts.misses += len(missing)
        if missing:
            made = dict(zip(missing, encode(missing), strict=True))
            found |= made
            with self._lock:
                for key, embedding in made.items():
                    self._keep(key, embedding)
        return [found[key] for key in keys]

    def _keep(self, key: Hashable, embedding: Embedding) -> None:
        if _size_bytes(embedding) <= self._kept.maxsize and key not in self._kept:
            # Copies: views into a batch that was encoded together would keep all of it.
            self._kept[key] = tuple(tensor.clone() for tensor in embedding)


def _size_bytes(embedding: Embedding) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in embedding)
