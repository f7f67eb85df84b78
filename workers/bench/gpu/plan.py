"""What is measured of each model, in the order of what a reader asks first; each measurement by a key of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from functools import cached_property, partial
from typing import Any

import torch

from jobs.errors import InvalidConfiguration
from workers.bench.device.company import TOLERANCES, Company
from workers.bench.device.compiled import BLOCKS, COMPILERS, GRAPHS, Compiler
from workers.bench.device.served import Served
from workers.bench.device.subject import Subject
from workers.bench.published.model import PublishedModel

LOADS = (60, 80)  # in percent of what the engine makes of such jobs

_MIXED_JOBS = 16
_MIXED_TIMEOUT_S = 600.0
_SINGLE_IMAGES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """
    How much is measured.

    Attributes:
        dtypes: The first has all measurements, the others have passes.
        unet_jobs, transformer_jobs: Of passes: a large transformer fills a GPU with few.
        image_s: Seconds of one picture at most, about: of a large model they have fewer steps.
        stream_s: Seconds of a Poisson stream at most, about.
        compilers: Ways to compile, by their names in keys.
    """

    dtypes: Sequence[str] = ("bfloat16", "float16")
    unet_jobs: Sequence[int] = (1, 2, 4, 8, 16, 32)
    transformer_jobs: Sequence[int] = (1, 2, 4, 8)
    tries: int = 3
    image_s: float = 10.0
    stream_s: float = 30.0
    compilers: Mapping[str, Compiler] = field(default_factory=lambda: COMPILERS)


class Opened:
    """A model that is on the device, and what measures it."""

    def __init__(self, published: PublishedModel, device: torch.device, dtype: str) -> None:
        self.subject = Subject(published, device, dtype)
        self.served = Served(self.subject)
        self._dtype = dtype

    @cached_property
    def company(self) -> Company:
        """Of flow-matching models."""
        return Company(self.subject, self._dtype)


Take = Callable[[Opened], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """
    The measurements of a model in a precision, for which it is built once.

    Attributes:
        measurements: By their keys, each `name/what`.
    """

    published: PublishedModel
    dtype: str
    measurements: Mapping[str, Take]

    @property
    def name(self) -> str:
        """Of the model and its precision, with which the keys begin."""
        return f"{self.published.name}/{self.dtype}"

    @property
    def build_key(self) -> str:
        """Of how the model is built, which all others need."""
        return f"{self.name}/build"


def plan(models: Sequence[PublishedModel], effort: Effort, only: Sequence[str] = ()) -> list[Group]:
    """
    The groups, all models in the first precision first.

    Args:
        only: Models, or patterns of keys such as `sdxl/*/load*`; empty for all.

    Raises:
        InvalidConfiguration: Nothing is called so.
    """
    groups = [_group(model, dtype, effort) for dtype in effort.dtypes for model in models]
    for pattern in only:
        if not any(_fits(key, pattern) for group in groups for key in group.measurements):
            names = ", ".join(model.name for model in models)
            example = next(iter(groups[0].measurements))
            raise InvalidConfiguration(
                f"--only: nothing is called {pattern!r}; models are {names}, and a key is {example}"
            )
    chosen = [
        Group(published=each.published, dtype=each.dtype, measurements=_chosen(each.measurements, only))
        for each in groups
    ]
    return [each for each in chosen if each.measurements]


def _chosen(measurements: Mapping[str, Take], only: Sequence[str]) -> dict[str, Take]:
    fitting = (key for key in measurements if not only or any(_fits(key, pattern) for pattern in only))
    return {key: measurements[key] for key in fitting}


def _fits(key: str, pattern: str) -> bool:
    return fnmatch(key, pattern) or key.startswith(f"{pattern}/")


def _group(published: PublishedModel, dtype: str, effort: Effort) -> Group:
    named = {**_passes(published, effort)}
    if dtype == effort.dtypes[0]:
        named = {**named, **_served(published, effort, dtype)}
    named |= _passes(published, effort, BLOCKS)
    return Group(
        published=published,
        dtype=dtype,
        measurements={f"{published.name}/{dtype}/{what}": take for what, take in named.items()},
    )


def _passes(published: PublishedModel, effort: Effort, way: str | None = None) -> dict[str, Take]:
    counts = effort.transformer_jobs if published.is_flow_matching else effort.unet_jobs
    compiler = effort.compilers[way] if way else None

    def take(side: int, opened: Opened) -> Mapping[str, Any]:
        figures = opened.subject.passes(side, counts, compiler=compiler, tries=effort.tries)
        short = counts[len(figures)] if len(figures) < len(counts) else None
        return {
            "steps": published.steps,
            "figures": [asdict(each) for each in figures],
            "out_of_memory_at_jobs": short,
        }

    return {f"passes-{side}{f'-{way}' if way else ''}": partial(take, side) for side in published.sides}


def _served(published: PublishedModel, effort: Effort, dtype: str) -> dict[str, Take]:
    side = published.sides[0]

    def single(opened: Opened, way: str | None) -> Mapping[str, Any]:
        compiler, steps = effort.compilers[way] if way else None, opened.subject.steps(side, effort.image_s)
        rate = opened.subject.singles(side, _SINGLE_IMAGES, steps=steps, compiler=compiler)
        return {"images_per_s": rate, "steps": steps}

    def engine(opened: Opened, *, in_turns: bool) -> Mapping[str, Any]:
        steps = opened.subject.steps(side, effort.image_s)
        return asdict(opened.served.rate(side, steps, in_turns=in_turns))

    named: dict[str, Take] = {
        f"single-{side}": lambda opened: single(opened, None),
        f"engine-{side}": partial(engine, in_turns=False),
        "swap": lambda opened: opened.subject.swap(),
    }
    if published.is_flow_matching and dtype in TOLERANCES:
        named["mixed"] = _mixed
    for percent in LOADS:
        named[f"load-{side}-{percent}"] = partial(_load, side, percent, effort.stream_s)
    named[f"single-{side}-{BLOCKS}"] = lambda opened: single(opened, BLOCKS)
    if not published.is_flow_matching:  # A transformer's launches are few beside its products.
        named[f"single-{side}-{GRAPHS}"] = lambda opened: single(opened, GRAPHS)
    named[f"engine-{side}-in-turns"] = partial(engine, in_turns=True)
    return named


def _load(side: int, percent: int, stream_s: float, opened: Opened) -> Mapping[str, Any]:
    return asdict(opened.served.load(side, percent / 100, stream_s))


def _mixed(opened: Opened) -> Mapping[str, Any]:
    mixed = asdict(opened.company.mixed(_MIXED_JOBS, _MIXED_TIMEOUT_S))
    compared = opened.company.compare()
    return {**mixed, **asdict(compared), "is_equal": compared.is_equal}


def keys_of(groups: Sequence[Group]) -> Iterator[str]:
    """Of all measurements, without what they need."""
    for group in groups:
        yield from group.measurements
