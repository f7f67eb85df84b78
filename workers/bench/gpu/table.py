"""What a person reads of the results: a line of each figure, and what they come to when one is held against another."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from workers.bench.device.served import BATCHES, ENGINE
from workers.bench.gpu.results import Results, Row

Line = tuple[str, str]


def lines_of(row: Row) -> Iterator[Line]:
    """The figures of one row; why there are none, where there are none."""
    if row.ending != "measured":
        yield row.key, f"{row.ending.upper()}: {row.reason}"
        return
    what = row.key.split("/")[-1]
    kind = next((each for each in _LINES if what.startswith(each)), None)
    for name, text in _LINES[kind](row.values) if kind else ():
        yield f"{row.key}{name}", text
    if row.peak_gib:
        yield f"{row.key}, peak of memory", f"{row.peak_gib:.1f} GiB"


def table_of(results: Results, left: Sequence[str]) -> str:
    """All lines, ratios, and how much is still to be measured."""
    lines = [line for row in results.rows.values() for line in lines_of(row)]
    lines += [line for name in _models(results.rows) for line in _ratios(results, name)]
    width = max((len(what) for what, _ in lines), default=0)
    text = "\n".join(f"{what:<{width}}  {value}" for what, value in lines)
    said = f"{len(left)} measurements are left; --resume goes on with {left[0]}" if left else "all is measured"
    return f"{text}\nwritten to {results.file}; {said}"


def _models(keys: Iterable[str]) -> list[str]:
    """Names of models with their precision, in the order of their first rows."""
    found = dict.fromkeys("/".join(key.split("/")[:2]) for key in keys)
    return [each for each in found if not each.startswith("device/")]


def _ratios(results: Results, name: str) -> Iterator[Line]:
    whats = {key.split("/")[-1]: row.values for key, row in results.rows.items() if key.startswith(f"{name}/")}
    singles = {what: values["images_per_s"] for what, values in whats.items() if what.startswith("single") and values}
    engines = {what: _median(values) for what, values in whats.items() if what.startswith("engine") and values}
    for what, rate in engines.items():
        if singles and not what.endswith("in-turns"):
            best = max(singles, key=lambda each: singles[each])
            yield f"{name}: {what} ÷ {best}", f"{rate / singles[best]:.2f} ×"
        if rival := engines.get(f"{what}-in-turns"):
            yield f"{name}: {what} ÷ {what}-in-turns", f"{rate / rival:.2f} ×"
    for what, values in whats.items():
        if what.startswith("load") and values:
            by_engine, batches = (values["served"][who] for who in (ENGINE, BATCHES))
            ratios = (f"{name}: {by_engine[name] / batches[name]:.2f} ×" for name in ("p50_s", "p95_s"))
            yield f"{name}: {what}, {ENGINE} ÷ {BATCHES}", ", ".join(ratios).replace("_s:", "")


def _median(values: Mapping[str, Any]) -> float:
    return statistics.median(values["images_per_s"])


def _peak(values: Mapping[str, Any]) -> Iterator[Line]:
    yield ", of a large product", f"{values['measured_flops_per_s'] / 1e12:.4g} TFLOP/s"
    if sheet := values["sheet_flops_per_s"]:
        yield ", of the data sheet", f"{sheet / 1e12:.4g} TFLOP/s"


def _build(values: Mapping[str, Any]) -> Iterator[Line]:
    yield ", parameters", f"{sum(values['parameters'].values()) / 1e9:.2f} billion"


def _passes(values: Mapping[str, Any]) -> Iterator[Line]:
    for each in values["figures"]:
        share = "" if each["share_of_peak"] is None else f", {each['share_of_peak']:.0%} of the {values['peak']}'s peak"
        rates = f"{each['rows'] / each['seconds']:.2f} rows/s, {each['images_per_s']:.3g} images/s"
        yield f", {each['rows']} rows", f"{1000 * each['seconds']:.1f} ms, {rates}{share}"
    if short := values["out_of_memory_at_jobs"]:
        yield f", {short} jobs", "OUT OF MEMORY"


def _single(values: Mapping[str, Any]) -> Iterator[Line]:
    yield "", f"{values['images_per_s']:.3g} images/s of {values['steps']} steps"


def _engine(values: Mapping[str, Any]) -> Iterator[Line]:
    rate = f"{_median(values):.3g} images/s of {values['steps']} steps"
    yield "", f"{rate}, {values['jobs_a_pass']} jobs a pass"


def _load(values: Mapping[str, Any]) -> Iterator[Line]:
    for who, each in values["served"].items():
        steps = "/".join(map(str, values["steps"]))
        latency = f"p50 {each['p50_s']:.3g} s, p95 {each['p95_s']:.3g} s, mean {each['mean_s']:.3g} s"
        yield f", {who}", f"{latency} ({values['jobs']} jobs of {steps} steps)"


def _swap(values: Mapping[str, Any]) -> Iterator[Line]:
    gib = values["bytes"] / 2**30
    for way, name in (("in_s", "to the device"), ("out_s", "off it")):
        seconds = statistics.median(values[way])
        yield f", {name}", f"{seconds:.2f} s for {gib:.1f} GiB"


def _mixed(values: Mapping[str, Any]) -> Iterator[Line]:
    rate = values["jobs"] / values["seconds"]
    rows = f"{min(values['mean_rows'])} to {max(values['mean_rows'])} rows a pass"
    yield f", {values['jobs']} jobs", f"{values['seconds']:.2f} s, {rate:.3g} images/s, {rows}"
    verdict = "equal" if values["is_equal"] else "NOT EQUAL"
    yield ", one beside its solo run", f"{values['distance']:.2g} of {values['tolerance']:g}: {verdict}"
    yield ", the same with another prompt", f"{values['to_other_text']:.2g}"


_LINES = {
    "peak": _peak,
    "build": _build,
    "passes": _passes,
    "single": _single,
    "engine": _engine,
    "load": _load,
    "swap": _swap,
    "mixed": _mixed,
}
