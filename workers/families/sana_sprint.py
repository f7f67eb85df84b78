"""Sana Sprint: Sana as a consistency model of one to four steps (Chen et al. 2025), with guidance as an input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers import SanaSprintPipeline, SCMScheduler

from jobs.catalogue.families import Guidance
from jobs.kinds.generate import GenerateSpec
from workers.families.family import Family
from workers.families.flow.rows import FlowRow, guidance_scales, stack, timesteps
from workers.families.parts.scheduler_names import OWN
from workers.families.sana import Sana

_FIRST, _MIDDLE = 1.57080, 1.3  # radians: its pipeline's own; the second is of two steps alone


class SanaSprint(Sana):
    """
    Adapts a `SanaSprintPipeline`.

    Latents are of the scheduler's scale, `sigma_data`, until the last step, and the model is given those of a flow.
    """

    _asked: ClassVar[dict[str, Any]] = {}

    @property
    def guidance(self) -> Guidance:
        return "embedded" if self._transformer.config.guidance_embeds else "none"

    @property
    def _sigma_data(self) -> float:
        return float(self._own_scheduler.config.sigma_data)

    def _pack(self, latents: torch.Tensor) -> torch.Tensor:
        return latents * self._sigma_data

    def _schedule(self, spec: GenerateSpec) -> Any:
        if spec.scheduler != OWN:
            raise ValueError(f"its steps are of its own scheduler, {OWN!r}")
        return ConsistencySchedule(self._own_scheduler, spec.num_inference_steps)

    def _forward(self, rows: Sequence[FlowRow]) -> Sequence[torch.Tensor]:
        """From the angle of a step to the time of a flow, and back: equations 4 and 5 of the paper."""
        angle = timesteps(rows)
        time = torch.sin(angle) / (torch.cos(angle) + torch.sin(angle))
        each = time.view(-1, 1, 1, 1)
        norm = torch.sqrt(each**2 + (1 - each) ** 2)
        samples = stack([row.sample for row in rows]) / self._sigma_data * norm
        scale = self._transformer.config.guidance_embeds_scale
        guidance = guidance_scales(rows).to(self.pipeline.text_encoder.dtype) * scale
        predicted = self._transform(rows, samples, guidance=guidance, timestep=time)
        velocity = ((1 - 2 * each) * samples + (1 - 2 * each + 2 * each**2) * predicted) / norm
        return list(velocity.float() * self._sigma_data)


class ConsistencySchedule:
    """
    An `SCMScheduler` of one job, as its pipeline steps it.

    Attributes:
        timesteps: One for each step: angles.

    Args:
        own: The model's; it is copied.
    """

    def __init__(self, own: Any, steps: int) -> None:
        self._scheduler = SCMScheduler.from_config(own.config)
        middle = _MIDDLE if steps == 2 else None
        self._scheduler.set_timesteps(steps, max_timesteps=_FIRST, intermediate_timesteps=middle)
        self._scheduler.set_begin_index(0)
        self.timesteps: torch.Tensor = self._scheduler.timesteps[:-1]

    def step(
        self, prediction: torch.Tensor, timestep: Any, sample: torch.Tensor, generator: Any = None, **options: Any
    ) -> tuple[torch.Tensor]:
        """Latents of the next step; after the last, those of the picture itself, of no scale."""
        following, denoised = self._scheduler.step(prediction, timestep, sample, generator=generator, **options)
        is_last = self._scheduler.step_index == len(self.timesteps)
        return (denoised / self._scheduler.config.sigma_data,) if is_last else (following,)


FAMILY = Family(
    pipeline=SanaSprintPipeline,
    parts=("transformer", "vae", "scheduler", "text_encoder", "tokenizer"),
    adapt=SanaSprint,
)
