"""Pictures of several sizes as latents, with what stands where: what the transformer is trained on."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL

from workers.builtin.drawing import Place, draw_places, places
from workers.builtin.scenes import COLOURS, SHAPES, Scene, caption_variant, training_scene
from workers.builtin.training.captions import lengthen, spoil
from workers.builtin.training.flow.transformer import to_tokens
from workers.builtin.training.pictures import to_pixels

PATCH_PX = 16
LABELS = 1 + len(SHAPES) * len(COLOURS)  # nothing, or a figure of a shape and a colour
_FIGURE_EDGE_PX = 4  # so far beyond a figure's box a patch still belongs to it
_CHUNK = 50  # pictures that are encoded together


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """
    Pictures of one size with texts of one padded length: what a batch has in common.

    Attributes:
        size: Width and height in pixels, multiples of 16 whose patches are a multiple of 32.
        text_tokens: The padded length of texts, a multiple of 32.
        share: Of the batches.
    """

    size: tuple[int, int]
    text_tokens: int
    share: float

    @property
    def patches(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        width, height = self.size
        return height // PATCH_PX, width // PATCH_PX


# Longer texts move the picture in the rotary embedding, and a model that never saw that draws nothing it was asked.
BUCKETS = (
    Bucket(size=(128, 128), text_tokens=32, share=0.56),
    Bucket(size=(192, 128), text_tokens=32, share=0.18),
    Bucket(size=(128, 192), text_tokens=32, share=0.18),
    Bucket(size=(128, 128), text_tokens=64, share=0.08),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """
    Attributes:
        captions: N.
        latents: Scaled, as tokens, float32 (N, T, 32).
        labels: What stands in each patch, int64 (N, T), below `LABELS`; 0 for nothing.
    """

    captions: list[str]
    latents: torch.Tensor
    labels: torch.Tensor


class LatentPool:
    """Drawn scenes of each size; grows while training goes on."""

    def __init__(self, autoencoder: AutoencoderKL, rng: random.Random) -> None:
        self._autoencoder = autoencoder.to(memory_format=torch.channels_last)
        self._rng = rng
        self._of_size = {bucket.size: _Drawn() for bucket in BUCKETS}

    def grow(self, count: int) -> None:
        """Draw and encode about so many more, as the buckets share them."""
        for size, drawn in self._of_size.items():
            share = sum(bucket.share for bucket in BUCKETS if bucket.size == size)
            for _ in range(max(1, round(count * share / _CHUNK))):
                drawn.add(*self._draw(size))

    def sample(self, bucket: Bucket, count: int) -> Batch:
        """So many of a bucket's size, at random, each with a caption of its own."""
        drawn = self._of_size[bucket.size]
        picks = torch.tensor([self._rng.randrange(len(drawn.scenes)) for _ in range(count)])
        change = spoil if bucket.text_tokens == BUCKETS[0].text_tokens else lengthen
        captions = [change(caption_variant(drawn.scenes[pick], self._rng), self._rng) for pick in picks.tolist()]
        return Batch(captions=captions, latents=drawn.at(drawn.latents, picks), labels=drawn.at(drawn.labels, picks))

    @torch.no_grad()
    def _draw(self, size: tuple[int, int]) -> tuple[list[Scene], torch.Tensor, torch.Tensor]:
        scenes = [training_scene(self._rng) for _ in range(_CHUNK)]
        at = [places(scene, self._rng, grid_px=PATCH_PX, size=size) for scene in scenes]
        pixels = to_pixels([draw_places(scene, where, size=size) for scene, where in zip(scenes, at, strict=True)])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            encoded = self._autoencoder.encode(pixels.to(memory_format=torch.channels_last)).latent_dist.mean
        latents = to_tokens(encoded.float() * self._autoencoder.config.scaling_factor)
        labels = [_labels(scene, where, size) for scene, where in zip(scenes, at, strict=True)]
        return scenes, latents, torch.stack(labels)


class _Drawn:
    """What was drawn of one size, in chunks."""

    def __init__(self) -> None:
        self.scenes: list[Scene] = []
        self.latents: list[torch.Tensor] = []
        self.labels: list[torch.Tensor] = []

    def add(self, scenes: list[Scene], latents: torch.Tensor, labels: torch.Tensor) -> None:
        self.scenes += scenes
        self.latents.append(latents)
        self.labels.append(labels)

    def at(self, chunks: list[torch.Tensor], picks: torch.Tensor) -> torch.Tensor:
        return torch.stack([chunks[pick // _CHUNK][pick % _CHUNK] for pick in picks.tolist()])


def _labels(scene: Scene, at: list[Place], size: tuple[int, int]) -> torch.Tensor:
    """Which figure is in each patch, int64 (T,): 0 or one more than the number of its shape and colour."""
    width, height = size
    columns, rows = (torch.arange(0, length, PATCH_PX) + PATCH_PX / 2 for length in (width, height))
    labels = torch.zeros(len(rows), len(columns), dtype=torch.long)
    for figure, place in zip(scene.figures, at, strict=True):
        reach = place.radius + _FIGURE_EDGE_PX
        inside = ((rows - place.y).abs() < reach)[:, None] & ((columns - place.x).abs() < reach)
        labels[inside] = 1 + SHAPES.index(figure.shape) * len(COLOURS) + COLOURS.index(figure.colour)
    return labels.flatten()
