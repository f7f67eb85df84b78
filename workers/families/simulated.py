"""
A device that only takes time: T(B) = a + b·B seconds for a pass of B rows.

Real devices are close to this: `a` is what launching costs, `b` what computing does. With a clock of its own it
shows in no time how a batching policy behaves; with the real one it shows what the system around a device costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from jobs.catalogue.entry import Model
from jobs.errors import InvalidConfiguration
from workers.engine.adapter import OnStep
from workers.families.family import Family, PictureFamily, PictureRun
from workers.families.parts.size_class import size_class
from workers.runners.edit_work import Work, spec_of
from workers.runners.postprocess import Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTimes:
    """Seconds: of a pass before its first row, of each row, of encoding a prompt, decoding a picture, loading it."""

    launch_s: float
    row_s: float
    encode_s: float = 0.0
    decode_s: float = 0.0
    load_s: float = 0.0

    @classmethod
    def parse(cls, source: str) -> DeviceTimes:
        """
        Read a catalogue's `source`, e.g. "launch_s=0.02 row_s=0.001".

        Raises:
            InvalidConfiguration: It is written otherwise.
        """
        try:
            return cls(**{name: float(value) for name, value in (part.split("=") for part in source.split())})
        except (ValueError, TypeError) as exc:
            raise InvalidConfiguration(f"simulated model: source {source!r} is not a list of times: {exc}") from exc


class VirtualClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class SimulatedRun(PictureRun):
    """A job of as many passes as it has steps."""

    def __init__(self, work: Work) -> None:
        spec = spec_of(work)
        super().__init__(spec)
        self.share_key: Hashable = (spec.model, spec.width, spec.height)
        self.cost_key: Hashable = (spec.model, size_class(spec.width, spec.height))
        self.rows = spec.n * (2 if spec.guidance_scale > 1 else 1)
        self.step = 0

    @property
    def passes_left(self) -> int:
        return self.steps - self.step

    def advance(self, _prediction: None) -> None:
        self.step += 1


class SimulatedModel(PictureFamily[SimulatedRun]):
    """An adapter without a model; its pictures are plain, in a colour of their seed."""

    def __init__(self, entry: Model, times: DeviceTimes, sleep: Callable[[float], None] = time.sleep) -> None:
        super().__init__(entry)
        self._times = times
        self._sleep = sleep
        self._take(times.load_s)

    def encode(self, works: Sequence[Work]) -> list[None]:
        self._take(self._times.encode_s * len(works))
        return [None] * len(works)

    def begin(self, work: Work, _conditioning: None) -> SimulatedRun:
        return SimulatedRun(work)

    def predict(self, batch: Sequence[SimulatedRun], max_rows: int, _on_step: OnStep) -> list[None]:
        rows = sum(each.rows for each in batch)
        passes = -(-rows // max_rows)
        self._take(self._times.launch_s * passes + self._times.row_s * rows)
        return [None] * len(batch)

    def decode(self, run: SimulatedRun, _max_images: int) -> list[Pixels]:
        spec = run.spec
        self._take(self._times.decode_s * spec.n)
        shape = (spec.height, spec.width, 3)
        return [np.broadcast_to(_colour(spec.seed + index), shape).copy() for index in range(spec.n)]

    def trial(self, run: SimulatedRun) -> SimulatedRun:
        return run

    def _take(self, seconds: float) -> None:
        if seconds > 0:
            self._sleep(seconds)


def _colour(seed: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, 3, dtype=np.uint8)


FAMILY = Family(
    pipeline=None, adapt=lambda entry, _pipeline, _cache: SimulatedModel(entry, DeviceTimes.parse(entry.source))
)
