"""
`python -m workers.bench.flow_gpu`: flow-matching models at their published sizes on a GPU, in about four minutes.

Made for a machine that is borrowed: it needs torch, diffusers, transformers, pydantic, structlog, cachetools and
filelock, and neither Celery nor Redis nor an S3 client. What fails is written down with its reason, and the rest is
measured all the same.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

    from workers.bench.device.flow_subject import FlowSubject
    from workers.bench.published.flow import PublishedFlow

T = TypeVar("T")

NO_GPU = "torch sees no CUDA device here; with --small, small models run on the CPU."
MINUTES = 4.0

_ROWS = (1, 2, 4, 8)
_JOBS = 16
_FILE = "flow-gpu.json"


@dataclass(slots=True, kw_only=True)
class ModelResult:
    """
    What was measured of a model.

    Attributes:
        passes: T(B) in seconds by rows, by the side of the picture in pixels.
        peak_gib: Of the device's memory, by part of the run; empty on a CPU.
        failed: Why a part has no figures, by its name: the last line of its error.
    """

    name: str
    parameters: dict[str, int] = field(default_factory=dict)
    passes: dict[int, dict[int, float]] = field(default_factory=dict)
    mixed: dict[str, Any] = field(default_factory=dict)
    compared: dict[str, Any] = field(default_factory=dict)
    peak_gib: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class FlowBench:
    """
    Measures models one after the other.

    Args:
        minutes: No part is begun after that.
        keep: Called with all results whenever there is more.
    """

    def __init__(
        self, device: torch.device, dtype: str, minutes: float, keep: Callable[[list[ModelResult]], None]
    ) -> None:
        self._device = device
        self._dtype = dtype
        self._ends = time.monotonic() + 60 * minutes
        self._keep = keep
        self._results: list[ModelResult] = []

    def run(self, models: Sequence[PublishedFlow]) -> list[ModelResult]:
        """All parts of all models."""
        for model in models:
            self._measure(model)
        return self._results

    def _measure(self, model: PublishedFlow) -> None:
        from workers.bench.device.flow_subject import FlowSubject

        result = ModelResult(name=model.name)
        self._results.append(result)
        subject = self._part(result, "build", lambda: FlowSubject(model, self._device, self._dtype))
        if subject is not None:
            result.parameters = subject.parameters
            self._measure_parts(subject, result)
        self._keep(self._results)

    def _measure_parts(self, subject: FlowSubject, result: ModelResult) -> None:
        if mixed := self._part(result, "mixed", lambda: subject.mixed(_JOBS, self._left_s)):
            result.mixed = asdict(mixed)
            if compared := self._part(result, "compared", subject.compare):
                result.compared = asdict(compared) | {"is_equal": compared.is_equal}
        for side in subject.published.sides:
            if passes := self._part(result, f"passes {side}", partial(subject.passes, side, _ROWS)):
                result.passes[side] = dict(passes)

    @property
    def _left_s(self) -> float:
        return max(0.0, self._ends - time.monotonic())

    def _part(self, result: ModelResult, name: str, call: Callable[[], T]) -> T | None:
        """What the call returns; None where it raises, or where there is no time left for it."""
        if not self._left_s:
            result.failed[name] = "no time left"
            return None
        self._empty()
        started = time.monotonic()
        try:
            made = call()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the other parts are measured all the same
            traceback.print_exc()
            result.failed[name] = traceback.format_exception_only(exc)[-1].strip()
            return None
        finally:
            result.seconds[name] = round(time.monotonic() - started, 2)
            self._note_peak(result, name)
            self._keep(self._results)
        return made

    def _note_peak(self, result: ModelResult, name: str) -> None:
        import torch

        if self._device.type == "cuda":
            result.peak_gib[name] = round(torch.cuda.max_memory_allocated(self._device) / 2**30, 2)

    def _empty(self) -> None:
        import torch

        gc.collect()  # A model that is done with is in circles.
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)


def table_of(results: Sequence[ModelResult]) -> str:
    """What a person reads first, as text."""
    lines = [(f"{each.name}: {what}", value) for each in results for what, value in _lines_of(each)]
    width = max(len(what) for what, _ in lines)
    return "\n".join(f"{what:<{width}}  {value}" for what, value in lines)


def _lines_of(result: ModelResult) -> Iterator[tuple[str, str]]:
    if result.parameters:
        yield "parameters", f"{sum(result.parameters.values()) / 1e9:.2f} billion"
    if mixed := result.mixed:
        rate = mixed["jobs"] / mixed["seconds"]
        yield f"{mixed['jobs']} mixed jobs", f"{mixed['seconds']:.2f} s, {rate:.3f} images/s"
        yield "rows of their passes", f"{min(mixed['mean_rows'])} to {max(mixed['mean_rows'])}"
    if compared := result.compared:
        verdict = "equal" if compared["is_equal"] else "NOT EQUAL"
        yield "one of them beside its solo run", f"{compared['distance']:.2g} of {compared['tolerance']:g}: {verdict}"
        yield "the same with another prompt", f"{compared['to_other_text']:.2g}"
        yield "its solo run", f"{compared['solo_s']:.2f} s"
    for side, passes in result.passes.items():
        for rows, seconds in passes.items():
            yield f"a pass of {rows} rows, {side} px", f"{1000 * seconds:.1f} ms, {rows / seconds:.2f} rows/s"
    for part, gib in result.peak_gib.items():
        yield f"peak of memory, {part}", f"{gib:.1f} GiB"
    for part, reason in result.failed.items():
        yield f"{part} FAILED", reason


def bench_flow(folder: Path, *, is_small: bool, minutes: float = MINUTES) -> list[ModelResult] | None:
    """
    Measure, print a table, and write `flow-gpu.json` into a folder, anew after each part.

    Args:
        is_small: Small models in float32 on the CPU: the same code, to try it.

    Returns:
        None where a GPU is wanted and there is none.
    """
    # Its import advises on image processors, never used here.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import torch

    from workers.bench.device.subject import find_device
    from workers.bench.published.flow import PUBLISHED, small
    from workers.process.logs import configure_logging

    configure_logging(logging.WARNING)
    device = torch.device("cpu") if is_small else find_device()
    if device is None:
        return None
    dtype, models = ("float32", [small(each) for each in PUBLISHED]) if is_small else ("bfloat16", list(PUBLISHED))
    surroundings = _surroundings(device, dtype)
    folder.mkdir(parents=True, exist_ok=True)

    def keep(results: list[ModelResult]) -> None:
        content = {"surroundings": surroundings, "models": [asdict(each) for each in results]}
        (folder / _FILE).write_text(json.dumps(content, indent=2) + "\n", "utf-8")

    results = FlowBench(device, dtype, minutes, keep).run(models)
    sys.stdout.write(f"{table_of(results)}\nwritten to {folder / _FILE}\n")
    return results


def _surroundings(device: torch.device, dtype: str) -> dict[str, Any]:
    import diffusers
    import torch
    import transformers

    from workers.bench.device.subject import describe

    return {
        "device": describe(device) if device.type == "cuda" else {"name": "cpu"},
        "dtype": dtype,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def main() -> int:
    """Run it; exit code 1 where a part failed or a job differs from its solo run, 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m workers.bench.flow_gpu", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/bench"), help="for the results")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="after which no part is begun")
    parser.add_argument("--small", action="store_true", help="small models on the CPU: the same code")
    options = parser.parse_args()
    results = bench_flow(options.folder, is_small=options.small, minutes=options.minutes)
    if results is None:
        sys.stderr.write(f"{NO_GPU}\n")
        return 2
    return int(any(each.failed or not each.compared.get("is_equal") for each in results))


if __name__ == "__main__":
    sys.exit(main())
