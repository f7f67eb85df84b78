"""Jobs that differ, in company of each other through the engine, and one of them beside what diffusers makes of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import torch

from jobs.kinds.generate import GenerateSpec
from workers.bench.device.subject import Subject
from workers.engine.adapter import OnStep
from workers.engine.capacity import Capacity
from workers.engine.engine import Engine
from workers.engine.streams import device_clock
from workers.families.family import PictureFamily
from workers.runners.postprocess import Pixels

# Of the latents, root mean square of the difference ÷ root mean square. In bfloat16 a row comes out differently with
# other rows beside it, by the last of its 8 bits, in each of the transformer's layers and of the job's steps.
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.05}
_SEEN = 4  # times the distance: so far away a neighbour's text has to be, or random weights make too little of texts
COMPARED_SEED = 5  # of the mixed jobs: in the middle of its neighbours

_STEPS = (4, 12, 6, 9, 8, 5, 11, 7, 10)
_WORDS = (3, 40, 12, 25, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """
    What a mixed run took.

    Attributes:
        seconds: For all jobs, batch sizes measured before.
        jobs_a_pass: How many such jobs share a pass at best, as measured, one for each class of sizes and guidance.
        mean_rows: Of the passes that a job took part in, by job.
    """

    jobs: int
    seconds: float
    passes: int
    jobs_a_pass: Sequence[int]
    mean_rows: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """
    A job of the mixed run beside what diffusers' own call makes of it, alone.

    Attributes:
        distance: Of their latents, as `TOLERANCES` measures it.
        to_other_text: Likewise to what diffusers makes of the same noise with another prompt: what a neighbour's text
            would cost.
        solo_s: Seconds of diffusers' call, without the decoding.
    """

    distance: float
    to_other_text: float
    tolerance: float
    solo_s: float

    @property
    def is_equal(self) -> bool:
        """Within the tolerance, and so near that a neighbour's text would have been seen."""
        return self.distance <= min(self.tolerance, self.to_other_text / _SEEN)


class Company:
    """
    Mixed jobs of a flow-matching model.

    Args:
        subject: The model.
        dtype: That it computes in, one of `TOLERANCES`.
    """

    def __init__(self, subject: Subject, dtype: str) -> None:
        self._subject = subject
        self._tolerance = TOLERANCES[dtype]
        self._latents: dict[int, torch.Tensor] = {}

    def mixed(self, jobs: int, timeout_s: float) -> Mixed:
        """
        Run jobs of mixed steps, texts, guidance and, where they share passes, sizes through the engine.

        Args:
            timeout_s: For each of them.

        Raises:
            TimeoutError: One is not done by then.
            GenerationFailed, EngineDied: As the engine raises them.
        """
        noting = _Noting(self._subject.adapter, self._latents)
        device = self._subject.device
        engine = Engine({noting.name: noting}, Capacity(clock=device_clock(device)), device=device)
        engine.start()
        try:
            for side in self._sides():  # Has the batch size of each class measured.
                spec = self._subject.spec(0, side, num_inference_steps=1)
                engine.submit(noting.name, spec).result(timeout_s)
            return _run(engine, self.specs(jobs), timeout_s)
        finally:
            engine.stop()

    def compare(self) -> Compared:
        """
        Hold one job of the mixed run against diffusers' own call.

        Raises:
            KeyError: There was no such run.
        """
        made = self._latents[COMPARED_SEED]
        spec = self.specs(COMPARED_SEED + 1)[COMPARED_SEED]
        started = time.perf_counter()
        alone = self._alone(spec)
        solo_s = time.perf_counter() - started
        other = self._alone(spec.model_copy(update={"prompt": "quite another text"}))
        return Compared(
            distance=_distance(made, alone),
            to_other_text=_distance(other, alone),
            tolerance=self._tolerance,
            solo_s=solo_s,
        )

    def specs(self, jobs: int) -> list[GenerateSpec]:
        """The mixed jobs; each seed is its place."""
        ways = zip(cycle(_STEPS), cycle(_WORDS), cycle(self._sides()), cycle(self._scales()), strict=False)
        return [
            self._spec(seed, side, words, num_inference_steps=steps, guidance_scale=scale)
            for seed, (steps, words, side, scale) in enumerate(islice(ways, jobs))
        ]

    def _sides(self) -> tuple[int, ...]:
        """Of the mixed jobs, in pixels."""
        published = self._subject.published
        return published.sides if published.mixes_sizes else published.sides[:1]

    def _scales(self) -> tuple[float, ...]:
        published = self._subject.published
        return (published.guidance_scale,) if published.mixed_scale is None else (0.0, 0.0, published.mixed_scale)

    def _spec(self, seed: int, side: int, words: int, **fields: Any) -> GenerateSpec:
        text = " ".join(islice(cycle(f"a picture of {seed} things".split()), words))
        return self._subject.spec(seed, side, prompt=text, **fields)

    def _alone(self, spec: GenerateSpec) -> torch.Tensor:
        """The latents that diffusers' own call ends with, as the model takes them; float32, on the CPU."""
        seen: list[torch.Tensor] = []

        def note(_pipeline: Any, _step: int, _timestep: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
            seen[:] = [kwargs["latents"]]
            return kwargs

        self._subject.call(spec, output_type="latent", callback_on_step_end=note)
        return seen[-1].float().cpu()


def _run(engine: Engine, specs: Sequence[GenerateSpec], timeout_s: float) -> Mixed:
    before, started = engine.counts.passes, time.perf_counter()
    tickets = [engine.submit(spec.model, spec) for spec in specs]
    for ticket in tickets:
        ticket.result(timeout_s)
    return Mixed(
        jobs=len(tickets),
        seconds=time.perf_counter() - started,
        passes=engine.counts.passes - before,
        jobs_a_pass=sorted({ticket.jobs_a_pass for ticket in tickets}),
        mean_rows=[round(ticket.rows_of_passes / ticket.passes, 2) for ticket in tickets],
    )


class _Noting(PictureFamily[Any]):
    """Passes everything on to an adapter, and notes the latents of each job, by its seed, when they are decoded."""

    def __init__(self, inner: PictureFamily[Any], latents: dict[int, torch.Tensor]) -> None:
        super().__init__(inner.entry)
        self._inner = inner
        self._latents = latents

    def encode(self, works: Sequence[GenerateSpec]) -> list[Any]:
        return self._inner.encode(works)

    def begin(self, work: GenerateSpec, conditioning: Any) -> Any:
        return self._inner.begin(work, conditioning)

    def fixed_rows(self, run: Any) -> int | None:
        return self._inner.fixed_rows(run)

    def predict(self, batch: Sequence[Any], max_rows: int, on_step: OnStep) -> list[Any]:
        return self._inner.predict(batch, max_rows, on_step)

    def decode(self, run: Any, max_images: int) -> list[Pixels]:
        self._latents[run.spec.seed] = run.latents.float().cpu()
        return self._inner.decode(run, max_images)

    def trial(self, run: Any) -> Any:
        return self._inner.trial(run)


def _distance(made: torch.Tensor, expected: torch.Tensor) -> float:
    return float((made - expected).norm() / expected.norm())
