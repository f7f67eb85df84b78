"""Captions as people may spoil them."""

from __future__ import annotations

import random

_STRANGE_WORDS = 0.08  # share of captions with a word that means nothing, so that such words do no harm


def spoil(text: str, rng: random.Random) -> str:
    """Now and then put a strange word before or behind a caption."""
    if rng.random() > _STRANGE_WORDS:
        return text
    word = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 7)))
    return rng.choice((f"{word} {text}", f"{text} {word}"))
