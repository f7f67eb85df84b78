"""Captions as people may spoil them."""

from __future__ import annotations

import random

_STRANGE_WORDS = 0.08  # share of captions with a word that means nothing, so that such words do no harm


def spoil(text: str, rng: random.Random) -> str:
    """Now and then put a strange word before or behind a caption."""
    if rng.random() > _STRANGE_WORDS:
        return text
    return _with_word(text, rng)


def lengthen(text: str, rng: random.Random) -> str:
    """Put two to six strange words around a caption, which make as many tokens as two captions have."""
    for _ in range(rng.randint(2, 6)):
        text = _with_word(text, rng)
    return text


def _with_word(text: str, rng: random.Random) -> str:
    word = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 7)))
    return rng.choice((f"{word} {text}", f"{text} {word}"))
