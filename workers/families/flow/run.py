"""A job of a flow-matching transformer."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor

from jobs.kinds.generate import GenerateSpec
from workers.families.flow.references import References
from workers.families.flow.rows import FlowRow
from workers.families.parts.autoencoder import Source
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
        source: The picture at which an edit begins.
        references: The pictures that an edit looks at.
        warnings: About its texts.
    """

    prompt: Embedding
    negative: Embedding | None = None
    source: Source | None = None
    references: References | None = None
    warnings: tuple[str, ...] = ()

    def tensors(self) -> list[torch.Tensor]:
        """All that it has on the device."""
        seen = [] if self.references is None else [self.references.tokens]
        begun = [] if self.source is None else self.source.tensors()
        return [*self.prompt, *(self.negative or ()), *seen, *begun]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentSpace:
    """
    Where a job's latents are: what noise is drawn as, and what the model takes.

    Attributes:
        shape: (C, h, w) of one image.
        like: Has the device and the dtype of noise.
        dtype: Of latents on their way, which may be more exact.
        pack: From (n, C, h, w) to what the model takes.
    """

    shape: tuple[int, int, int]
    like: torch.Tensor
    dtype: torch.dtype
    pack: Callable[[torch.Tensor], torch.Tensor]

    def draw(self, generators: Sequence[torch.Generator]) -> torch.Tensor:
        """Noise for each image by its own generator, (n, C, h, w)."""
        shape = (len(generators), *self.shape)
        return randn_tensor(shape, generator=list(generators), device=self.like.device, dtype=self.like.dtype)


class FlowRun(SteppedRun):
    """
    The images of one job.

    Attributes:
        latents: (n, …), as the model takes them.

    Args:
        guide: The family's formula of guidance; called once for each of its passes.
    """

    def __init__(
        self,
        spec: GenerateSpec,
        scheduler: Any,
        conditioning: FlowConditioning,
        *,
        space: LatentSpace,
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
        self.latents = self._first_latents(space)

    @property
    def rows(self) -> int:
        return self.spec.n * (1 if self._conditioning.negative is None else 2)

    def _first_latents(self, space: LatentSpace) -> torch.Tensor:
        """Where it begins: noise."""
        return space.pack(space.draw(self._generators).to(space.dtype))

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
                references=self._conditioning.references,
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
