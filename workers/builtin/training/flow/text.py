"""Train the text encoder on its own, before the transformer: see `reading.py`. Then it stays as it is."""

from __future__ import annotations

import random
from pathlib import Path

import structlog
import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

from workers.builtin.scenes import caption_variant, training_scene
from workers.builtin.training.captions import lengthen, spoil
from workers.builtin.training.flow.tokenizer import tokenize
from workers.builtin.training.reading import Probe, reading_loss

log = structlog.get_logger()

TEXT_WIDTH = 128
_STEPS = 700
_BATCH = 64
_LONG_EVERY = 8  # steps: one with longer captions
_LEARNING_RATE = 1.5e-3


def new_text_encoder(tokenizer: PreTrainedTokenizerFast) -> Qwen3Model:
    """Three layers of width 128, and a fourth that is never used: Z-Image takes what goes into the last one."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=3 * TEXT_WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=TEXT_WIDTH // 4,
        max_position_embeddings=tokenizer.model_max_length,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        tie_word_embeddings=True,
        use_cache=False,
        attn_implementation="eager",  # whose gradient in bfloat16 takes a quarter of the time on a processor
    )
    encoder = Qwen3Model(config)
    for parameter in encoder.layers[-1].parameters():
        torch.nn.init.zeros_(parameter)
    return encoder


def encode(encoder: Qwen3Model, tokens: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
    """What the transformer is given, (N, L, 128); whatever stands at padding is not looked at."""
    made = encoder(tokens, attention_mask=(~padding).long(), output_hidden_states=True)
    return made.hidden_states[-2]


def train_text_encoder(
    folder: Path, tokenizer: PreTrainedTokenizerFast, *, steps: int = _STEPS, seed: int = 0
) -> Qwen3Model:
    """Train from nothing on captions that training may see, or return what `folder` already holds."""
    if (folder / "config.json").exists():
        return Qwen3Model.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    torch.manual_seed(seed)
    rng = random.Random(seed)
    encoder, probe = new_text_encoder(tokenizer).train(), Probe(TEXT_WIDTH, normed=True)
    used = [parameter for name, parameter in encoder.named_parameters() if not name.startswith(("layers.3.", "norm."))]
    parameters = [*used, *probe.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=_LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps, pct_start=0.08)
    for step in range(steps):
        scenes = [training_scene(rng) for _ in range(_BATCH)]
        is_long = step % _LONG_EVERY == _LONG_EVERY - 1
        texts = [(lengthen if is_long else spoil)(caption_variant(scene, rng), rng) for scene in scenes]
        tokens, padding = tokenize(tokenizer, texts, 64 if is_long else 32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            answers = probe(encode(encoder, tokens, padding), padding)
        loss, right = reading_loss(answers, scenes)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            log.info("text encoder", step=step, of=steps, loss=round(loss.item(), 4), right=round(right, 4))
    encoder.eval().save_pretrained(folder)
    return encoder
