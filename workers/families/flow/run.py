"""A job of a flow-matching transformer."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from jobs.kinds.generate import GenerateSpec
from workers.families.flow.rows import FlowRow
from workers.families.parts.embeddings import Embedding
from workers.families.stepped import SteppedRun

# Called with what the model predicts with the prompt and without it, each (n, …), and the job's guidance scale.
Guide = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowConditioning:
    """
    What a job is conditioned on.

    Attributes:
        prompt: What its prompt was encoded to.
        negative: Likewise of what its images have a second row with; None where there is no such row.
        warnings: About its texts.
    """

    prompt: Embedding
    negative: Embedding | None = None
    warnings: tuple[str, ...] = ()

    def tensors(self) -> list[torch.Tensor]:
        """All that it has on the device."""
        return [*self.prompt, *(self.negative or ())]


class FlowRun(SteppedRun):
    """
    The images of one job.

    Args:
        latents: Noise, (n, …), as the model takes latents; drawn by `draw`.
        guide: The family's formula of guidance; called once for each of its passes.
    """

    def __init__(
        self,
        spec: GenerateSpec,
        scheduler: Any,
        conditioning: FlowConditioning,
        *,
        draw: Callable[[Sequence[torch.Generator]], torch.Tensor],
        guide: Guide,
        share_key: Hashable,
        cost_key: Hashable,
    ) -> None:
        super().__init__(spec, scheduler)
        self.share_key = share_key
        self.cost_key = cost_key
        self.warnings = conditioning.warnings
        self._conditioning = conditioning
        self._guide = guide
        self.latents = draw(self._generators)

    @property
    def rows(self) -> int:
        return self.spec.n * (1 if self._conditioning.negative is None else 2)

    def inputs(self) -> list[FlowRow]:
        """The rows of its next pass: all images with the prompt, then, with guidance, all without it."""
        timestep, next_timestep = (*map(float, self._timesteps[self._calls : self._calls + 2]), 0.0)[:2]
        texts = [self._conditioning.prompt, self._conditioning.negative]
        return [
            FlowRow(
                sample=sample,
                timestep=timestep,
                next_timestep=next_timestep,
                text=text,
                guidance_scale=self.spec.guidance_scale,
                size=(self.spec.height, self.spec.width),
            )
            for text in texts
            if text is not None
            for sample in self.latents
        ]

    def advance(self, prediction: Sequence[torch.Tensor]) -> None:
        """
        Move one step on.

        Args:
            prediction: The model's output for `inputs`, one for each row.
        """
        predicted = torch.stack(list(prediction))
        if self.is_guided:
            with_prompt, without = predicted.chunk(2)
            predicted = self._guide(with_prompt, without, self.spec.guidance_scale)
        self.move(predicted)
