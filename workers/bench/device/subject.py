"""One model on one device: its passes, its pictures one at a time, its way off the device and back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from jobs.kinds.generate import GenerateSpec
from workers.bench.device.compiled import Compiler, compiled
from workers.bench.device.peak import count_flops
from workers.bench.passes import pass_seconds
from workers.bench.published.model import PublishedModel, build, entry_of, spec_of
from workers.engine.errors import is_out_of_memory
from workers.engine.streams import device_clock
from workers.families.family import PictureFamily
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.registry import family_of

_CACHE_BYTES = 1 << 30
_FEWEST_STEPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PassFigure:
    """
    A pass of `rows` rows, which are those of `jobs` jobs.

    Attributes:
        flops_per_s: How many floating-point operations a second that makes; None where they could not be counted.
    """

    jobs: int
    rows: int
    seconds: float
    flops_per_s: float | None


class Subject:
    """
    A model with random weights, made on its device. Written for a GPU; a CPU does too.

    Attributes:
        published, device: As given.
        adapter: As a worker has it.
        parameters: By part of the pipeline.
    """

    def __init__(self, published: PublishedModel, device: torch.device, dtype: str) -> None:
        self.published = published
        self.device = device
        self._entry = entry_of(published, dtype)
        self.pipeline = build(published, device, dtype)
        self.adapter: PictureFamily[Any] = family_of(self._entry).adapt(
            self._entry, self.pipeline, EmbeddingCache(_CACHE_BYTES)
        )
        self._pass_s: dict[int, float] = {}
        self.parameters = {
            name: sum(each.numel() for each in part.parameters())
            for name, part in self.pipeline.components.items()
            if isinstance(part, torch.nn.Module)
        }

    def spec(self, seed: int, side: int, **fields: Any) -> GenerateSpec:
        """A usual job of a size in pixels, but for `fields`."""
        return spec_of(self._entry, seed, side, **fields)

    def passes(
        self,
        side: int,
        counts: Sequence[int],
        *,
        compiler: Compiler | None = None,
        tries: int = 3,
    ) -> list[PassFigure]:
        """
        T(B), for passes of each of `counts` usual jobs, as far as memory goes.

        Args:
            side: Of their pictures, in pixels.
            compiler: Has compiled passes timed, compiled anew for each number of rows.

        Raises:
            torch.OutOfMemoryError: There is not enough for the first.
        """
        spec = self.spec(0, side)
        run = self.adapter.begin(spec, self.adapter.encode([spec])[0])
        flops = self._flops(run)
        figures: list[PassFigure] = []
        for count in counts:
            try:
                with compiled(self.denoiser, compiler):
                    measured = pass_seconds(self.adapter, run, [count], device_clock(self.device), tries)
            except Exception as exc:
                if is_out_of_memory(exc) and figures:
                    break
                raise
            for rows, seconds in measured.items():
                rate = None if flops is None else flops * count / seconds
                figures.append(PassFigure(jobs=count, rows=rows, seconds=seconds, flops_per_s=rate))
        return figures

    def steps(self, side: int, longest_s: float) -> int:
        """Those of a usual job, or fewer, down to four, so that a picture takes no longer."""
        if side not in self._pass_s:
            self._pass_s[side] = self.passes(side, (1,), tries=1)[0].seconds
        return min(self.published.steps, max(_FEWEST_STEPS, int(longest_s / self._pass_s[side])))

    def singles(self, side: int, images: int, *, steps: int, compiler: Compiler | None = None) -> float:
        """Images per second, one after the other, by the pipeline's own call; compiled and warm."""
        with compiled(self.denoiser, compiler):
            self.call(self.spec(0, side, num_inference_steps=steps))
            self._wait()
            started = time.perf_counter()
            for seed in range(1, images + 1):
                self.call(self.spec(seed, side, num_inference_steps=steps))
            self._wait()
            return images / (time.perf_counter() - started)

    def swap(self, times: int = 2) -> Mapping[str, Any]:
        """Seconds of each way to the machine's memory, which is not pinned, and back; and the bytes that go."""
        took: dict[str, list[float]] = {"out_s": [], "in_s": []}
        for _ in range(times):
            for way, target in (("out_s", torch.device("cpu")), ("in_s", self.device)):
                started = time.perf_counter()
                for part in self._models():
                    torch.nn.Module.to(part, target)  # diffusers' own warns of modules that it does not have.
                self._wait()
                took[way].append(time.perf_counter() - started)
        size = sum(each.nbytes for part in self._models() for each in (*part.parameters(), *part.buffers()))
        return {**took, "bytes": size}

    def call(self, spec: GenerateSpec, **fields: Any) -> Any:
        """What diffusers' own call makes of a job, alone."""
        return self.pipeline(
            prompt=[spec.prompt],
            width=spec.width,
            height=spec.height,
            num_inference_steps=spec.num_inference_steps,
            generator=[torch.Generator("cpu").manual_seed(spec.seed)],
            **self.published.call(spec.guidance_scale),
            **fields,
        )

    @property
    def denoiser(self) -> Any:
        """The U-Net or the transformer."""
        return self.pipeline.transformer if self.published.is_flow_matching else self.pipeline.unet

    def _flops(self, run: Any) -> int | None:
        """Of a pass of one job; None where memory is short for attention as two plain products."""
        try:
            return count_flops(lambda: self.adapter.predict([run], run.rows, lambda _step: None))
        except Exception as exc:
            if is_out_of_memory(exc):
                return None
            raise

    def _models(self) -> list[torch.nn.Module]:
        return [part for part in self.pipeline.components.values() if isinstance(part, torch.nn.Module)]

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def describe(device: torch.device) -> dict[str, Any]:
    """What a reader has to know of a GPU to compare with his own."""
    if device.type != "cuda":
        return {"name": device.type}
    properties = torch.cuda.get_device_properties(device)
    return {
        "name": properties.name,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "compute_capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
