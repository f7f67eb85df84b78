"""
Train the built-in model's text encoder on its own, before the UNet: what does a caption put where?

A UNet that learns from an untrained text encoder spends most of its steps on telling captions apart. Reading them is
a small task of its own: a probe with one layer of cross-attention, as the UNet has, must find each attribute, and
what stands at each place, in the encoder's output.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import structlog
import torch
from torch.nn.functional import cross_entropy
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from workers.builtin.scenes import COLOURS, POSITIONS, RELATIONS, SHAPES, SIZES, Scene, caption_variant, training_scene
from workers.builtin.training.captions import spoil

log = structlog.get_logger()

TEXT_WIDTH = 128
_STEPS = 1_000
_BATCH = 96
_LEARNING_RATE = 1e-3
_UNSTATED = -100  # cross_entropy's default for a target that does not count

# Which place each of two figures takes: the first one's by the relation, the other one's opposite.
_SIDES = {
    "left of": ("left", "right"),
    "right of": ("right", "left"),
    "above": ("top", "bottom"),
    "below": ("bottom", "top"),
}
_FIGURE_VALUES = (len(COLOURS) + 1, len(SHAPES) + 1)  # and none
_CLASSES = (
    len(COLOURS),
    *_FIGURE_VALUES * 2,
    len(SIZES) + 1,
    len(POSITIONS) + 1,
    len(RELATIONS) + 1,
    *_FIGURE_VALUES * len(POSITIONS),
)


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


class _Probe(torch.nn.Module):
    """One learned query and one classifier for each thing that a caption may say."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = torch.nn.Parameter(torch.randn(len(_CLASSES), TEXT_WIDTH))
        self.attention = torch.nn.MultiheadAttention(TEXT_WIDTH, 4, batch_first=True)
        self.heads = torch.nn.ModuleList(torch.nn.Linear(TEXT_WIDTH, count) for count in _CLASSES)

    def forward(self, text: torch.Tensor) -> list[torch.Tensor]:
        queries = self.queries.expand(len(text), -1, -1)
        found = self.attention(queries, text, text, need_weights=False)[0]
        return [head(found[:, index]) for index, head in enumerate(self.heads)]


def train_text_encoder(folder: Path, tokenizer: CLIPTokenizer, *, steps: int = _STEPS, seed: int = 0) -> CLIPTextModel:
    """Train from nothing on captions that training may see, or return what `folder` already holds."""
    if (folder / "config.json").exists():
        return CLIPTextModel.from_pretrained(folder, dtype=torch.float32).eval()
    torch.manual_seed(seed)
    rng = random.Random(seed)
    encoder, probe = new_text_encoder(tokenizer).train(), _Probe()
    parameters = [*encoder.parameters(), *probe.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=_LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps, pct_start=0.05)
    for step in range(steps):
        scenes = [training_scene(rng) for _ in range(_BATCH)]
        texts = [spoil(caption_variant(scene, rng), rng) for scene in scenes]
        tokens = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        answers = probe(encoder(tokens).last_hidden_state)
        targets = _targets(scenes)
        losses = [cross_entropy(answer, target) for answer, target in zip(answers, targets.T, strict=True)]
        loss = torch.stack(losses).nanmean()  # A target that no caption of the batch states gives no number.
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            right = (torch.stack([answer.argmax(1) for answer in answers], 1) == targets).sum() / (targets >= 0).sum()
            log.info("text encoder", step=step, of=steps, loss=round(loss.item(), 4), right=round(right.item(), 4))
    encoder.eval().save_pretrained(folder)
    return encoder


def _targets(scenes: Sequence[Scene]) -> torch.Tensor:
    """Returns int64 (N, number of queries), the right class of each."""
    return torch.tensor([_target(scene) for scene in scenes])


def _target(scene: Scene) -> list[int]:
    first = scene.figures[0]
    figures = [(COLOURS.index(each.colour), SHAPES.index(each.shape)) for each in scene.figures]
    nothing = (len(COLOURS), len(SHAPES))
    pair = [*figures, nothing][:2]
    stated = [
        SIZES.index(first.size) if first.size else len(SIZES),
        POSITIONS.index(first.position) if first.position else len(POSITIONS),
        RELATIONS.index(scene.relation) if scene.relation else len(RELATIONS),
    ]
    if scene.relation:
        at = dict(zip(_SIDES[scene.relation], figures, strict=True))
    else:
        at = {first.position: figures[0]} if first.position else {}
    open_place = nothing if at else (_UNSTATED, _UNSTATED)
    places = [at.get(position, open_place) for position in POSITIONS]
    return [COLOURS.index(scene.background), *_flat(pair), *stated, *_flat(places)]


def _flat(pairs: Sequence[tuple[int, int]]) -> list[int]:
    return [value for pair in pairs for value in pair]
