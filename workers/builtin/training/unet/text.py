"""Train the built-in model's text encoder on its own, before the UNet: see `reading.py`. Then it stays as it is."""

from __future__ import annotations

import random
from pathlib import Path

import structlog
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from workers.builtin.scenes import caption_variant, training_scene
from workers.builtin.training.captions import spoil
from workers.builtin.training.reading import Probe, reading_loss

log = structlog.get_logger()

TEXT_WIDTH = 128
_STEPS = 1_000
_BATCH = 96
_LEARNING_RATE = 1e-3


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Three layers of width 128."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def train_text_encoder(folder: Path, tokenizer: CLIPTokenizer, *, steps: int = _STEPS, seed: int = 0) -> CLIPTextModel:
    """Train from nothing on captions that training may see, or return what `folder` already holds."""
    if (folder / "config.json").exists():
        return CLIPTextModel.from_pretrained(folder, dtype=torch.float32).eval()
    torch.manual_seed(seed)
    rng = random.Random(seed)
    encoder, probe = new_text_encoder(tokenizer).train(), Probe(TEXT_WIDTH)
    parameters = [*encoder.parameters(), *probe.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=_LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps, pct_start=0.05)
    for step in range(steps):
        scenes = [training_scene(rng) for _ in range(_BATCH)]
        texts = [spoil(caption_variant(scene, rng), rng) for scene in scenes]
        tokens = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        answers = probe(encoder(tokens).last_hidden_state)
        loss, right = reading_loss(answers, scenes)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            log.info("text encoder", step=step, of=steps, loss=round(loss.item(), 4), right=round(right, 4))
    encoder.eval().save_pretrained(folder)
    return encoder
