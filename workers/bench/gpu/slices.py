"""A slice: builds models and takes what is still to be measured of them, until its time is over."""

from __future__ import annotations

import gc
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from workers.bench.device.peak import measure_peak, sheet_flops_per_s
from workers.bench.gpu.plan import Group, Opened
from workers.bench.gpu.results import Ending, Results, Row
from workers.engine.errors import OUT_OF_MEMORY, is_fatal, is_out_of_memory

log = logging.getLogger(__name__)


class DeviceLost(Exception):
    """The device is beyond use for this process; a new one may go on."""


class Slice:
    """
    Takes measurements, and adds a row of each to the results, whatever comes of it.

    Args:
        device: Where models are built.
        results: Of earlier slices; those of this one are added.
        minutes: After which no measurement is begun.
        say: Gets a line of each row.
        peak_side: Of the matrices whose product is the measured peak.
    """

    def __init__(
        self,
        device: torch.device,
        results: Results,
        minutes: float,
        say: Callable[[Row], None] = lambda _row: None,
        peak_side: int = 8192,
    ) -> None:
        self._device = device
        self._results = results
        self._ends = time.monotonic() + 60 * minutes
        self._say = say
        self._peak_side = peak_side

    def run(self, groups: Sequence[Group]) -> None:
        """
        What is still to be measured, group by group.

        Raises:
            DeviceLost: A CUDA error ends all that this process can do; its row is there.
        """
        for group in groups:
            todo = self._todo(group)
            if todo and self._has_time:
                self._measure_peak(group.dtype)
                self._run(group, todo)

    def left_of(self, groups: Sequence[Group]) -> list[str]:
        """The keys that are still to be measured."""
        return [key for group in groups for key in self._todo(group)]

    def _todo(self, group: Group) -> list[str]:
        build = self._results.rows.get(group.build_key)
        if build is not None and build.ending == "out of memory":
            return []
        return [key for key in group.measurements if not self._results.is_settled(key)]

    def _run(self, group: Group, todo: Sequence[str]) -> None:
        opened = self._build(group)
        for key in todo if opened is not None else ():
            if self._has_time:
                take = group.measurements[key]
                self._take(key, lambda take=take: self._with_shares(take(opened), group.dtype))  # type: ignore[misc]

    def _build(self, group: Group) -> Opened | None:
        opened: list[Opened] = []
        gc.collect()  # The model before is in circles.

        def build() -> Mapping[str, Any]:
            opened.append(Opened(group.published, self._device, group.dtype))
            return {"parameters": opened[0].subject.parameters}

        self._take(group.build_key, build)
        return opened[0] if opened else None

    def _measure_peak(self, dtype: str) -> None:
        def measure() -> Mapping[str, Any]:
            measured = measure_peak(self._device, dtype, self._peak_side)
            name = self._results.runs[-1]["device"]["name"]
            return {"measured_flops_per_s": measured, "sheet_flops_per_s": sheet_flops_per_s(name, dtype)}

        if not self._results.is_settled(_peak_key(dtype)):
            self._take(_peak_key(dtype), measure)

    def _with_shares(self, values: Mapping[str, Any], dtype: str) -> Mapping[str, Any]:
        """Of the peak: that of the data sheet, where there is one of the device, or else of a large product."""
        if "figures" not in values:
            return values
        sheet, measured = (
            self._results.value(_peak_key(dtype), name) for name in ("sheet_flops_per_s", "measured_flops_per_s")
        )
        peak = sheet or measured
        for each in values["figures"]:
            is_known = bool(peak and each["flops_per_s"])
            each["share_of_peak"] = each["flops_per_s"] / peak if is_known else None
            each["images_per_s"] = each["jobs"] / (each["seconds"] * values["steps"])
        return {**values, "peak": "data sheet" if sheet else "measured product"}

    def _take(self, key: str, measure: Callable[[], Mapping[str, Any]]) -> None:
        self._empty()
        started = time.monotonic()
        found: dict[str, Any] = {}
        ending: Ending = "measured"
        lost: BaseException | None = None
        try:
            found["values"] = dict(measure())
        except Exception as exc:  # Whatever it is, the others are measured all the same.
            ending = "out of memory" if any(map(_is_short, _chain(exc))) else "failed"
            found["reason"] = traceback.format_exception_only(exc)[-1].strip()[:1000]
            log.debug("a measurement ended: %s", key, exc_info=exc)
            lost = exc if any(map(is_fatal, _chain(exc))) else None
        if lost is None:
            found["peak_gib"] = self._peak_gib()
        self._say(self._results.add(key, ending, time.monotonic() - started, **found))
        if lost is not None:
            raise DeviceLost(found["reason"]) from lost

    @property
    def _has_time(self) -> bool:
        return time.monotonic() < self._ends

    def _peak_gib(self) -> float | None:
        if self._device.type != "cuda":
            return None
        return round(torch.cuda.max_memory_allocated(self._device) / 2**30, 2)

    def _empty(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)


def _peak_key(dtype: str) -> str:
    return f"device/{dtype}/peak"


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """An error, and what it came of."""
    found: BaseException | None = exc
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _is_short(exc: BaseException) -> bool:
    return is_out_of_memory(exc) or getattr(exc, "code", None) == OUT_OF_MEMORY
