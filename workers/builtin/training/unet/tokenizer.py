"""The built-in model's tokenizer: CLIP's byte pairs, with every word of the captions as one token."""

from __future__ import annotations

import string

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from workers.builtin.scenes import COLOURS, RELATIONS, SHAPES, SIZES

MAX_TOKENS = 32

_CAPTION_WORDS = "a an on in at the of and with center left right top bottom background above below"


def new_tokenizer() -> CLIPTokenizer:
    """
    A byte-level BPE tokenizer (Sennrich et al. 2016, as CLIP uses it), 32 tokens at most.

    A word that no caption holds falls apart into its letters, so every prompt has a token sequence.
    """
    words = {*COLOURS, *SHAPES, *SIZES, *" ".join(RELATIONS).split(), *_CAPTION_WORDS.split()}
    letters = [*ByteLevel.alphabet(), *(letter + "</w>" for letter in string.printable.strip())]
    vocabulary = {token: number for number, token in enumerate(sorted(letters))}
    blank = CLIPTokenizer(vocab=vocabulary | {"<|startoftext|>": len(letters), "<|endoftext|>": len(letters) + 1})
    # Trained on each word alike and until nothing is left to merge, so each ends as one token.
    learned = blank.train_new_from_iterator(
        [sorted(words) * 2, list(string.printable.strip())],
        vocab_size=4_096,
        initial_alphabet=list(ByteLevel.alphabet()),
        end_of_word_suffix="</w>",
    )
    learned.model_max_length = MAX_TOKENS
    return learned
