"""
Whether a model makes every size that its entry in the catalogue offers.

A pipeline cuts a picture into latents, and those into patches; a side that does not divide is refused by some, and by
others rounded. Few of them say which multiple they need, so it is tried.
"""

from __future__ import annotations

import math
from typing import Any

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from jobs.errors import InvalidConfiguration
from jobs.kinds.generate import GenerateSpec, spec_of
from workers.engine.errors import GenerationFailed, WrongPictures, is_fatal, is_out_of_memory
from workers.engine.isolation import finish_all
from workers.families.family import PictureFamily

_STEPS = 2
_TIMES = (2, 4, 8)  # the multiple of the catalogue, where that one does not do


def check_side_multiple(adapter: PictureFamily[Any], catalogue: Catalogue) -> None:
    """
    Raise `InvalidConfiguration` where a model cannot keep `limits.side_multiple`, and one that it can is known.

    Where no multiple is found, it has to make its default size at least: some models make a few sizes only, which no
    multiple describes, and others make no picture here at all.
    """
    multiple = adapter.entry.side_multiple
    if adapter.side_multiple is not None:
        _refuse_unless(math.lcm(multiple, adapter.side_multiple), adapter.entry, "latents are whole")
    elif adapter.are_sides_tried:
        jobs = {times * multiple: _job(adapter.entry, catalogue, times * multiple) for times in (1, *_TIMES)}
        first = jobs.pop(multiple)
        if first is not None and (trouble := _trouble(adapter, first)):
            does = (right for right, job in jobs.items() if job is not None and _trouble(adapter, job) is None)
            if (right := next(does, None)) is not None:
                _refuse_unless(right, adapter.entry, trouble)
            else:
                _check_default_size(adapter, catalogue)


def check_edits(adapter: PictureFamily[Any]) -> None:
    """Raise `InvalidConfiguration` where an entry says of its model's edits what is not so."""
    entry, ways = adapter.entry, adapter.ways_to_edit
    if (said := entry.limits.max_references or 0) > adapter.most_references:
        raise InvalidConfiguration(
            f"model {entry.name}: limits.max_references of [models.{entry.name}] in models.toml is "
            f"{said}, and its pipeline takes {adapter.most_references}: leave it out"
        )
    if ways is None or entry.edits in (None, ways):
        return
    shown = ", ".join(f'{field} = "{way}"' for field, way in ways.items())
    raise InvalidConfiguration(
        f"model {entry.name}: set edits = {{ {shown} }} of [models.{entry.name}] in models.toml, or leave it out: "
        "that is how its pipeline edits"
    )


def _refuse_unless(right: int, entry: Model, trouble: str) -> None:
    multiple = entry.side_multiple
    if right != multiple:
        raise InvalidConfiguration(
            f"model {entry.name}: limits.side_multiple is {multiple}, and the model needs multiples of {right} "
            f"({trouble}): set limits.side_multiple = {right} of [models.{entry.name}] in models.toml"
        )


def _check_default_size(adapter: PictureFamily[Any], catalogue: Catalogue) -> None:
    """Raise `InvalidConfiguration` where it makes no picture of that size: a package is not there, or it is a film."""
    entry = adapter.entry
    job = _job_of(entry, catalogue, entry.defaults.width, entry.defaults.height)
    if trouble := _trouble(adapter, job):
        raise InvalidConfiguration(
            f"model {entry.name}: it does not make its default size ({trouble}): correct defaults or source of "
            f"[models.{entry.name}] in models.toml, or install what the model needs"
        )


def _trouble(adapter: PictureFamily[Any], spec: GenerateSpec) -> str | None:
    """What goes wrong with a job; None where nothing does."""
    try:
        work: Any = adapter.work_to_try(spec)  # One that names an edit takes edits.
        run = adapter.begin(work, adapter.encode([work])[0])
        run.advance(adapter.predict([run], spec.n, lambda _step: None)[0])
        finish_all(adapter, run)
    except WrongPictures as exc:
        return exc.found
    except GenerationFailed:
        return None  # Values that are not finite have a size, too.
    except Exception as exc:
        if is_fatal(exc):
            raise
        if is_out_of_memory(exc):
            return None  # As it is just now: it says nothing of the model.
        return " ".join(f"{spec.width}×{spec.height} pixels: {exc}".split())
    return None


def _job(entry: Model, catalogue: Catalogue, multiple: int) -> GenerateSpec | None:
    """
    A job whose sides are odd multiples, and near the model's own, so that nothing but the multiple can be wrong.

    None where the limits allow no such sides.
    """
    width, height = (_odd_multiple(side, multiple, entry) for side in (entry.defaults.width, entry.defaults.height))
    return None if width is None or height is None else _job_of(entry, catalogue, width, height)


def _job_of(entry: Model, catalogue: Catalogue, width: int, height: int) -> GenerateSpec:
    """A short job of these sides."""
    steps = min(_STEPS, entry.defaults.num_inference_steps)
    request = {"model": entry.name, "prompt": "a picture", "seed": 0, "num_inference_steps": steps}
    return spec_of(request | {"width": width, "height": height}, catalogue)


def _odd_multiple(side: int, multiple: int, entry: Model) -> int | None:
    """
    One that is near `side`; None where the limits allow none.

    Not `side` itself: that a model makes its own size says nothing of others.
    """
    count = side // multiple
    odd = count - 1 + count % 2
    allowed = range(entry.limits.min_side, entry.limits.max_side + 1)
    near = ((odd + more) * multiple for more in (0, 2, -2))
    return next((each for each in near if each in allowed and each != side), None)
