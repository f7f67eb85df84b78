"""Train the built-in model's autoencoder: 128×128 RGB pictures to 8×16×16 latents and back."""

from __future__ import annotations

import math
import random
from pathlib import Path

import structlog
import torch
from diffusers import AutoencoderKL
from torch.nn.functional import max_pool2d

from workers.builtin.drawing import SIZE_PX, draw, draw_crowd
from workers.builtin.scenes import training_scene
from workers.builtin.training.pictures import to_pixels

log = structlog.get_logger()

LATENT_CHANNELS = 8
_STEPS = 2_600
_BATCH_PIXELS = 16 * 64 * 64
_CROPS_UNTIL = 0.75  # share of the steps that see 64 px crops of crowds: an edge is local, and crowds are all edges
_BFLOAT16_UNTIL = 0.85  # share of the steps that may be imprecise for being 1.4 times as fast
_EDGE_WEIGHT = 4.0  # of a pixel at an edge, against one in a flat part: small figures are all edge
_LEARNING_RATE = 1.5e-3
_KL_WEIGHT = 1e-6


def new_autoencoder() -> AutoencoderKL:
    """0.9 M parameters; no attention, so that any size decodes in time proportional to its pixels."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 64),
        latent_channels=LATENT_CHANNELS,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=128,
        mid_block_add_attention=False,
    )


def train_autoencoder(folder: Path, *, steps: int = _STEPS, seed: int = 0) -> AutoencoderKL:
    """
    Train from nothing, or return what `folder` already holds.

    The latents' mean square over training pictures goes into `scaling_factor`, as in Latent Diffusion
    (Rombach et al. 2022, appendix G), so that scaled latents have unit variance.
    """
    if (folder / "config.json").exists():
        return AutoencoderKL.from_pretrained(folder)
    torch.manual_seed(seed)
    rng = random.Random(seed)
    model = new_autoencoder().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps, pct_start=0.04)
    for step in range(steps):
        pictures = _crowd_crops(rng) if step < steps * _CROPS_UNTIL else _whole_scenes(rng)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=step < steps * _BFLOAT16_UNTIL):
            loss = _loss(model, pictures.to(memory_format=torch.channels_last))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            log.info("autoencoder", step=step, of=steps, loss=round(loss.item(), 4))
    model.eval()
    model.register_to_config(scaling_factor=_scaling_factor(model, rng))
    model.save_pretrained(folder)
    return model


def _crowd_crops(rng: random.Random) -> torch.Tensor:
    side = 64
    pictures = to_pixels([draw_crowd(rng.randint(3, 9), rng) for _ in range(_BATCH_PIXELS // side**2)])
    corners = [(rng.randrange(SIZE_PX - side), rng.randrange(SIZE_PX - side)) for _ in pictures]
    return torch.stack([p[:, y : y + side, x : x + side] for p, (x, y) in zip(pictures, corners, strict=True)])


def _whole_scenes(rng: random.Random) -> torch.Tensor:
    return to_pixels([draw(training_scene(rng), rng) for _ in range(_BATCH_PIXELS // SIZE_PX**2)])


def _loss(model: AutoencoderKL, pictures: torch.Tensor) -> torch.Tensor:
    latents = model.encode(pictures).latent_dist
    error = (model.decode(latents.sample()).sample.float() - pictures).abs()
    # A pixel's 5×5 neighbourhood: its range is 0 in flat parts and 2 at the strongest edges.
    most, least = max_pool2d(pictures, 5, 1, 2), -max_pool2d(-pictures, 5, 1, 2)
    weight = 1 + _EDGE_WEIGHT * (most - least).amax(1, keepdim=True) / 2
    return (error * weight).mean() + _KL_WEIGHT * latents.kl().mean()


@torch.no_grad()
def _scaling_factor(model: AutoencoderKL, rng: random.Random) -> float:
    pictures = to_pixels([draw(training_scene(rng), rng) for _ in range(256)])
    latents = torch.cat([model.encode(chunk).latent_dist.mean for chunk in pictures.split(32)])
    return 1 / math.sqrt(latents.square().mean().item())
