"""Real adapters for tests: with something done on the way, and on a device whose time a test can foretell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from jobs.catalogue.entry import Limits
from jobs.kinds.generate import GenerateSpec
from tests import tiny_pipelines
from tests.further import transformers
from tests.unit.workers import tiny
from workers.engine.adapter import AnyAdapter, OnStep
from workers.engine.capacity import Capacity, PassTimes
from workers.engine.engine import Engine
from workers.engine.run import Run
from workers.engine.ticket import OnProgress, Ticket
from workers.families.family import PictureFamily
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.pixart_alpha import PixArtAlpha
from workers.families.pixart_sigma import PixArtSigma
from workers.families.simulated import VirtualClock
from workers.families.stable_diffusion import StableDiffusion
from workers.families.stable_diffusion_xl import StableDiffusionXL
from workers.runners.edit_work import Edit, Work, spec_of
from workers.runners.postprocess import Pixels

ROWS = 16  # that a pass has in a test: up to there it takes one time, from there on a row takes its share
_PASS_S = 0.016
_CACHE_BYTES = 1 << 20

# numpy 2 deprecates how torch 2.13 turns tensors into arrays (__array__, __array_wrap__), which some schedulers do.
QUIET = "ignore:__array_:DeprecationWarning"


PIPELINES: dict[str, tuple[type[StableDiffusion], Callable[[], Any]]] = {
    "stable-diffusion": (StableDiffusion, tiny.stable_diffusion),
    "stable-diffusion-xl": (StableDiffusionXL, tiny.stable_diffusion_xl),
    "inpainting": (StableDiffusion, tiny.inpainting),
    "inpainting-xl": (StableDiffusionXL, tiny.inpainting_xl),
}
PIXARTS: dict[str, tuple[type[PixArtSigma], Callable[[], Any]]] = {
    "pixart-sigma": (PixArtSigma, tiny_pipelines.pixart),
    "pixart-alpha": (PixArtAlpha, transformers.pixart_alpha_told_of_sizes),
}
_PIXART_SIDE = 32  # pixels: four tokens


def make_pixart(name: str, **changes: Any) -> PixArtSigma:
    """Likewise, of one of `PIXARTS`."""
    family, make = PIXARTS[name]
    size = {"width": _PIXART_SIDE, "height": _PIXART_SIDE}
    defaults = tiny.model(name).defaults.model_copy(update=size)
    limits = Limits(min_side=16, max_side=512, max_steps=1000, max_n=64)
    pipeline = make()
    pipeline.set_progress_bar_config(disable=True)
    fields = {"defaults": defaults, "limits": limits, "max_sequence_length": 100}
    return family(tiny.model(name, **fields | changes), pipeline, EmbeddingCache(_CACHE_BYTES))


def make_adapter(name: str) -> StableDiffusion:
    """A fresh adapter, its cache empty: of one of `PIPELINES`, or "shapes"."""
    cache = EmbeddingCache(_CACHE_BYTES)
    if name in PIPELINES:
        family, make = PIPELINES[name]
        return family(tiny.model("stable-diffusion", name=name), make(), cache)
    defaults = tiny.model("stable-diffusion").defaults.model_copy(update={"width": 64, "height": 64})
    return StableDiffusion(tiny.model("stable-diffusion", name=name, defaults=defaults), tiny.shapes(), cache)


def changed(edit: Edit, **fields: Any) -> Edit:
    """The same edit, but that its specification says these."""
    return replace(edit, spec=edit.spec.model_copy(update=fields))


class Wrapped(PictureFamily[Any]):
    """Passes everything on to the adapter in it."""

    def __init__(self, inner: PictureFamily[Any]) -> None:
        super().__init__(inner.entry)
        self._inner = inner

    def encode(self, works: Sequence[Any]) -> list[Any]:
        return self._inner.encode(works)

    def begin(self, work: Any, conditioning: Any) -> Any:
        return self._inner.begin(work, conditioning)

    def fixed_rows(self, run: Any) -> int | None:
        return self._inner.fixed_rows(run)

    def predict(self, batch: Sequence[Any], max_rows: int, on_step: OnStep) -> list[Any]:
        return self._inner.predict(batch, max_rows, on_step)

    def decode(self, run: Any, max_images: int) -> list[Pixels]:
        return self._inner.decode(run, max_images)

    def trial(self, run: Any) -> Any:
        return self._inner.trial(run)


class Watched(Wrapped):
    """
    Notes what passes through.

    Attributes:
        latents: By a job's seed, (n, C, h, w), as they came to be decoded.
        offsets: By a job's seed, the rows of passes at which it began.
        passes: Seeds of the jobs of each pass.
    """

    def __init__(self, inner: PictureFamily[Any]) -> None:
        super().__init__(inner)
        self.latents: dict[int, torch.Tensor] = {}
        self.offsets: dict[int, set[int]] = {}
        self.passes: list[list[int]] = []

    def predict(self, batch: Sequence[Any], max_rows: int, on_step: OnStep) -> list[Any]:
        self.passes.append([each.spec.seed for each in batch])
        offset = 0
        for each in batch:
            self.offsets.setdefault(each.spec.seed, set()).add(offset)
            offset += each.rows
        return super().predict(batch, max_rows, on_step)

    def decode(self, run: Any, max_images: int) -> list[Pixels]:
        if hasattr(run, "latents"):
            self.latents[run.spec.seed] = run.latents.clone()
        return super().decode(run, max_images)


class Measured(Capacity):
    """Has measured `ROWS` for whatever comes: for pipelines whose passes take long, even though they are small."""

    def learn(self, adapter: AnyAdapter, run: Run) -> PassTimes:
        self._known[run.cost_key] = PassTimes(seconds={ROWS: _PASS_S})
        return super().learn(adapter, run)


class OnClock(Wrapped):
    """Takes virtual time: all the same for a pass of up to `ROWS` rows, so that this is the size that is measured."""

    def __init__(self, inner: PictureFamily[Any], clock: VirtualClock) -> None:
        super().__init__(inner)
        self._clock = clock

    def predict(self, batch: Sequence[Any], max_rows: int, on_step: OnStep) -> list[Any]:
        predictions = super().predict(batch, max_rows, on_step)
        self._clock.sleep(_PASS_S * max(1.0, sum(each.rows for each in batch) / ROWS))
        return predictions


def make_engine(*adapters: PictureFamily[Any], capacity: Capacity | None = None) -> Engine:
    """An engine whose passes have `ROWS` rows. A test drives it with `turn`."""
    clock = VirtualClock()
    timed = {adapter.name: OnClock(adapter, clock) for adapter in adapters}
    return Engine(timed, capacity or Capacity(clock=clock), clock=clock)


def submit(engine: Engine, job: Work, on_progress: OnProgress | None = None) -> Ticket[list[Pixels]]:
    """Hand a job in to the adapter of its model."""
    return engine.submit(spec_of(job).model, job, on_progress)


def run(engine: Engine, *tickets: Ticket[Any]) -> None:
    """Turn until these are over."""
    while not all(ticket.is_over for ticket in tickets):
        engine.turn()


def warm(engine: Engine, job: GenerateSpec) -> None:
    """Have the size of a pass measured, with a job like this one."""
    run(engine, submit(engine, job.model_copy(update={"num_inference_steps": 1, "scheduler": "ddim"})))
