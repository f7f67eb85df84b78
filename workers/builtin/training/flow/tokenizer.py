"""The tokenizer of the built-in flow-matching model: byte pairs and a chat template, as Qwen3 has them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from workers.builtin.scenes import COLOURS, RELATIONS, SHAPES, SIZES

_WORDS = "a an on in at the of and with center left right top bottom background above below user assistant"
_MOST_TOKENS = 4_096
_END_OF_TEXT, _END_OF_MESSAGE = "<|endoftext|>", "<|im_end|>"
# Accepts and ignores `enable_thinking`, with which Z-Image's pipeline asks.
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def new_tokenizer() -> PreTrainedTokenizerFast:
    """
    A byte-level BPE tokenizer (Sennrich et al. 2016) that ignores case, with every word of the captions as one token.

    A word that no caption holds falls apart into its bytes, so every prompt has a token sequence.
    """
    words = sorted({*COLOURS, *SHAPES, *SIZES, *" ".join(RELATIONS).split(), *_WORDS.split()})
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_MOST_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[_END_OF_TEXT, "<|im_start|>", _END_OF_MESSAGE],
        min_frequency=2,
        show_progress=False,
    )
    # On each word alike, at the start of a text and after a space, until nothing is left to merge.
    tokenizer.train_from_iterator(2 * [*words, *(f" {word}" for word in words)], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_END_OF_TEXT,
        eos_token=_END_OF_MESSAGE,
        model_max_length=_MOST_TOKENS,
        padding_side="right",
        chat_template=_CHAT,
    )


def tokenize(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], length: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Texts as a user's message each, as the pipeline writes them.

    Returns:
        Tokens, int64 (N, length), and where there are none, bool (N, length). What is longer is cut.
    """
    chats = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True, enable_thinking=True
        )
        for text in texts
    ]
    made = tokenizer(chats, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    return made.input_ids, made.attention_mask == 0
