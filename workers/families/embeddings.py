"""What prompts are encoded to, kept so that the same prompt is encoded once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch

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
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Hashable, Embedding] = OrderedDict()
        self._lock = threading.Lock()
        self.size_bytes = 0
        self.counts = CacheCounts()

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
            for key in found:
                self._kept.move_to_end(key)
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
        size = _size_bytes(embedding)
        if size > self._max_bytes or key in self._kept:
            return
        # Copies: views into a batch that was encoded together would keep all of it.
        self._kept[key] = tuple(tensor.clone() for tensor in embedding)
        self.size_bytes += size
        while self.size_bytes > self._max_bytes:
            self.size_bytes -= _size_bytes(self._kept.popitem(last=False)[1])


def _size_bytes(embedding: Embedding) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in embedding)
