"""What the hardware can do: the model's own calls at the engine's sizes, and nothing between them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from jobs.kinds.generate import GenerateSpec
from workers.bench.passes import pass_seconds
from workers.engine.engine import ENCODED_TOGETHER
from workers.engine.streams import device_clock, wait_for_stream
from workers.families.flow.rows import FlowRow, timesteps
from workers.families.z_image import ZImage


class BareLoop:
    """
    Encodes, runs forwards and decodes. No scheduler, no guidance, no picture: what comes out is not looked at.

    Args:
        adapter: Of the built-in model that is the default. Its pipeline is used.
    """

    def __init__(self, adapter: ZImage) -> None:
        self._adapter = adapter
        self._pipeline: Any = adapter.pipeline
        self._device = adapter.pipeline.transformer.device

    def threads(self) -> int:
        """What torch computes with here."""
        return torch.get_num_threads()

    @torch.inference_mode()
    def make(self, specs: Sequence[GenerateSpec], jobs_a_pass: int) -> float:
        """
        Call what it takes to make these pictures.

        Args:
            specs: Of equal steps and size, each of one picture.
            jobs_a_pass: How many share a forward.

        Returns:
            Seconds.
        """
        inputs = self._inputs(specs[0])
        started = time.perf_counter()
        for at in range(0, len(specs), ENCODED_TOGETHER):
            self._encode([spec.prompt for spec in specs[at : at + ENCODED_TOGETHER]])
        for at in range(0, len(specs), jobs_a_pass):
            group = specs[at : at + jobs_a_pass]
            for _ in range(group[0].num_inference_steps):
                self._forward(inputs * len(group))
            for _ in group:
                self._decode(inputs[0].sample[None])
        wait_for_stream(self._device)
        return time.perf_counter() - started

    def pass_seconds(self, spec: GenerateSpec, counts: Sequence[int]) -> dict[int, float]:
        """T(B) of this model: seconds by rows, for each of `counts` jobs together."""
        run = self._adapter.begin(spec, self._adapter.encode([spec])[0])
        return pass_seconds(self._adapter, run, counts, device_clock(self._device))

    def _inputs(self, spec: GenerateSpec) -> list[FlowRow]:
        return self._adapter.begin(spec, self._adapter.encode([spec])[0]).inputs()

    def _encode(self, prompts: list[str]) -> None:
        self._pipeline.encode_prompt(prompt=prompts, device=self._device, do_classifier_free_guidance=False)

    def _forward(self, rows: list[FlowRow]) -> None:
        samples = [row.sample[:, None] for row in rows]
        texts = [row.text[0] for row in rows]
        self._pipeline.transformer(samples, 1 - timesteps(rows) / 1000, texts, return_dict=False)

    def _decode(self, latents: torch.Tensor) -> None:
        vae = self._pipeline.vae
        vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0].cpu()
