"""One slice, from the device that is found to the table of what is known by now."""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers.bench.gpu.results import FILE, Results, Row

if TYPE_CHECKING:
    import torch

    from workers.bench.gpu.plan import Effort, Group

NO_GPU = "There is no GPU to measure on"
MINUTES = 4.0

_SMALL_PEAK_SIDE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """
    What is known after a slice.

    Attributes:
        left: Keys that are still to be measured.
    """

    results: Results
    left: Sequence[str]

    @property
    def is_well(self) -> bool:
        """Whether nothing failed, and every job that was compared equals its solo run. What did not fit is no fault."""
        rows = self.results.rows.values()
        return all(row.ending != "failed" and row.values.get("is_equal", True) for row in rows)


def bench_gpu(
    folder: Path,
    *,
    only: Sequence[str] = (),
    is_resumed: bool = False,
    minutes: float = MINUTES,
    is_small: bool = False,
) -> Done | None:
    """
    Measure for some minutes, print each row and at last the whole table, and keep all in `gpu.json` in a folder.

    Args:
        only: Models, or patterns of keys; empty for all.
        is_resumed: Go on with the results that the folder has.
        is_small: Small models in float32 on the CPU: the same code, to try it.

    Returns:
        None where a GPU is wanted and there is none, which is said.

    Raises:
        InvalidConfiguration: `only` fits nothing, or the folder has results that this run cannot go on with.
    """
    # Its import advises on image processors, never used here.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import torch

    from workers.loading.models import cuda_fault
    from workers.process.logs import configure_logging

    configure_logging(logging.WARNING)
    if not is_small and (fault := cuda_fault()):
        sys.stdout.write(f"{NO_GPU}: {fault}.\n")
        return None
    device = torch.device("cpu" if is_small else "cuda")
    groups = _groups(only, is_small=is_small)
    results = (Results.resume if is_resumed else Results.begin)(folder / FILE, _surroundings(device))
    return _measure(device, groups, results, minutes, is_small=is_small)


def _groups(only: Sequence[str], *, is_small: bool) -> list[Group]:
    from workers.bench.gpu.plan import Effort, plan
    from workers.bench.published.models import PUBLISHED
    from workers.bench.published.small import small

    if is_small:
        return plan([small(each) for each in PUBLISHED], small_effort(), only)
    return plan(PUBLISHED, Effort(), only)


def _measure(
    device: torch.device, groups: Sequence[Group], results: Results, minutes: float, *, is_small: bool
) -> Done:
    from workers.bench.gpu.slices import DeviceLost, Slice
    from workers.bench.gpu.table import table_of

    peak = {"peak_side": _SMALL_PEAK_SIDE} if is_small else {}
    taken = Slice(device, results, minutes, _say, **peak)
    try:
        taken.run(groups)
    except DeviceLost as exc:
        sys.stdout.write(f"This process cannot use the device any more ({exc}); --resume goes on in a new one.\n")
    done = Done(results=results, left=taken.left_of(groups))
    sys.stdout.write(f"\n{table_of(results, done.left)}\n")
    return done


def small_effort() -> Effort:
    """As much as shows that all of it runs; what is compiled needs no compiler."""
    from workers.bench.device.compiled import BLOCKS, GRAPHS
    from workers.bench.gpu.plan import Effort

    def blocks(denoiser: Any) -> None:
        denoiser.compile_repeated_blocks(fullgraph=True, dynamic=False, backend="eager")

    return Effort(
        dtypes=("float32", "bfloat16"),
        unet_jobs=(1, 2),
        transformer_jobs=(1, 2),
        tries=1,
        stream_s=3.0,
        compilers={BLOCKS: blocks, GRAPHS: lambda denoiser: denoiser.compile(backend="eager")},
    )


def _say(row: Row) -> None:
    from workers.bench.gpu.table import lines_of

    for what, value in lines_of(row):
        sys.stdout.write(f"{what}  {value}\n")
    sys.stdout.flush()


def _surroundings(device: torch.device) -> Mapping[str, Any]:
    import diffusers
    import torch
    import transformers

    from workers.bench.device.subject import describe

    return {
        "device": describe(device),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
        },
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
