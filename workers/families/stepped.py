"""A job that goes from noise to latents one step at a time, whatever predicts them."""

from __future__ import annotations

import copy
import inspect
from abc import abstractmethod
from typing import Any, Self

import torch

from jobs.kinds.generate import GenerateSpec
from workers.families.family import PictureRun
from workers.runners.postprocess import Pixels


class SteppedRun(PictureRun):
    """
    The images of one job, each with its own generator, under a scheduler of their own.

    Attributes:
        latents: (n, …), as the model takes them.
    """

    latents: torch.Tensor

    def __init__(self, spec: GenerateSpec, scheduler: Any) -> None:
        super().__init__(spec)
        self._scheduler = scheduler
        self._calls = 0
        self._timesteps = scheduler.timesteps
        # On the CPU: the same picture on every device and in every company.
        self._generators = [torch.Generator("cpu").manual_seed(spec.seed + index) for index in range(spec.n)]
        # As diffusers' pipelines have it; TCD's own default is another eta.
        known = inspect.signature(scheduler.step).parameters
        options = {"generator": self._generators, "eta": 0.0}
        self._options = {name: value for name, value in options.items() if name in known}

    @property
    @abstractmethod
    def rows(self) -> int:
        """Of its passes."""

    @property
    def is_guided(self) -> bool:
        """Whether each image has a second row, for what the model makes without the prompt."""
        return self.rows > self.spec.n

    @property
    def passes_left(self) -> int:
        return len(self._timesteps) - self._calls

    @property
    def step(self) -> int:
        # Schedulers of second order (Heun) call the model twice for a step.
        return self._calls * self.steps // len(self._timesteps)

    def one_image(self) -> Self:
        """An ordinary job with the first image alone, to measure with; it is not to be advanced."""
        one = copy.copy(self)
        one.spec = self.spec.model_copy(update={"n": 1, "reproducible": False})
        one.latents = self.latents[:1]
        return one

    def keep(self, pictures: list[Pixels]) -> list[Pixels]:
        """What becomes of pictures that were made of its latents."""
        return pictures

    def move(self, prediction: torch.Tensor) -> None:
        """
        Move one step along its own schedule. Only here noise is drawn, after the forward has succeeded.

        Args:
            prediction: Of the shape of `latents`, guidance applied.
        """
        timestep = self._timesteps[self._calls]
        step = self._scheduler.step(prediction, timestep, self.latents, **self._options, return_dict=False)
        self.latents = step[0].to(self.latents.dtype)
        self._calls += 1
