"""Prompts that are longer than a text encoder takes: diffusers' pipelines cut them, and say so in a log alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def cut_texts(texts: Mapping[str, str], tokenizers: Sequence[Any]) -> tuple[str, ...]:
    """
    A sentence for each text that is cut.

    Args:
        texts: By the field of the job.
        tokenizers: Of transformers; each text goes through all of them, and is cut to `model_max_length`.
    """
    most = min(tokenizer.model_max_length for tokenizer in tokenizers)
    return tuple(
        f"{field}: cut to {most} tokens"
        for field, text in texts.items()
        if any(_is_cut(text, tokenizer) for tokenizer in tokenizers)
    )


def _is_cut(text: str, tokenizer: Any) -> bool:
    most = tokenizer.model_max_length
    # No token of CLIP's is less than a byte, so most prompts need not be cut into tokens for this.
    if len(text.encode()) + tokenizer.num_special_tokens_to_add() <= most:
        return False
    return len(tokenizer(text, truncation=False, verbose=False).input_ids) > most
