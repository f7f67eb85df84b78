"""The same prompt is encoded once, within a number of bytes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.workers import tiny
from tests.unit.workers.adapters import make_adapter
from workers.families.parts.embeddings import Embedding, EmbeddingCache

SIZE_BYTES = 40


class Encoder:
    """Ten numbers for each key; remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Hashable] = []

    def __call__(self, keys: Sequence[Hashable]) -> list[Embedding]:
        self.asked += keys
        return [(torch.full((1, 10), float(hash(key) % 1000)),) for key in keys]


def test_same_prompt_is_encoded_once_and_counted() -> None:
    cache, encoder = EmbeddingCache(1000), Encoder()
    cache.get_many(["a", "b", "a"], encoder)
    cache.get_many(["b", "c"], encoder)
    assert encoder.asked == ["a", "b", "c"]
    assert (cache.counts.misses, cache.counts.hits) == (3, 2)
    assert cache.size_bytes == 3 * SIZE_BYTES


def test_prompt_that_was_used_longest_ago_goes_first() -> None:
    cache, encoder = EmbeddingCache(2 * SIZE_BYTES), Encoder()
    for key in ("a", "b", "a", "c"):  # c takes the place of b.
        cache.get_many([key], encoder)
    cache.get_many(["a"], encoder)
    assert encoder.asked == ["a", "b", "c"]
    cache.get_many(["b"], encoder)
    assert encoder.asked == ["a", "b", "c", "b"]


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5), max_size=20), st.integers(0, 6 * SIZE_BYTES))
def test_bound_holds_and_answers_are_right_whatever_is_asked(asked: list[list[int]], max_bytes: int) -> None:
    cache, encoder = EmbeddingCache(max_bytes), Encoder()
    for keys in asked:
        found = cache.get_many(keys, encoder)
        assert [embedding[0][0, 0].item() for embedding in found] == [float(key) for key in keys]
        assert cache.size_bytes <= max_bytes
        assert cache.size_bytes % SIZE_BYTES == 0
    assert cache.counts.hits + cache.counts.misses == sum(map(len, asked))


def test_cache_holds_no_more_memory_than_it_counts() -> None:
    """A kept embedding is no view into the whole batch that it was encoded in."""
    cache = EmbeddingCache(2 * SIZE_BYTES)
    cache.get_many(list(range(8)), lambda keys: [(part,) for part in torch.zeros(len(keys), 10).split(1)])
    kept = [cache.get_many([key], lambda _keys: [])[0][0] for key in (6, 7)]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in kept}
    assert sum(storages.values()) == cache.size_bytes == 2 * SIZE_BYTES


@pytest.mark.parametrize("name", ["stable-diffusion", "stable-diffusion-xl"])
def test_text_encoder_runs_once_for_a_prompt(name: str) -> None:
    adapter = make_adapter(name)
    runs: list[int] = []
    hook = adapter.pipeline.text_encoder.register_forward_hook(lambda _model, args, _out: runs.append(len(args[0])))
    try:
        job = tiny.spec(adapter.entry, negative_prompt="gray", guidance_scale=3.0)
        adapter.encode([job, job.model_copy(update={"seed": 1})])
        adapter.encode([job.model_copy(update={"seed": 2, "num_inference_steps": 9})])
        assert sum(runs) == 2  # the prompt, and the negative one
    finally:
        hook.remove()
