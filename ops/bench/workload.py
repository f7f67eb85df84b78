"""The jobs that benchmarks make: captions of the built-in model, each one another."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import JobFailed
from jobs.kinds.generate import GenerateSpec, spec_of
from jobs.table.states import Status
from jobs.view import JobView
from workers.builtin.scenes import caption, random_scene

MODEL = "shapes-flow"


def requests(count: int, seed: int, **fields: Any) -> list[dict[str, Any]]:
    """Requests with distinct captions, so that no prompt is encoded already; `fields` are those of all."""
    rng = random.Random(seed)
    captions: dict[str, None] = {}
    while len(captions) < count:
        captions[caption(random_scene(rng))] = None
    return [{"prompt": text, "seed": index, **fields} for index, text in enumerate(captions)]


def settle(catalogue: Catalogue, requested: Sequence[Mapping[str, Any]]) -> list[GenerateSpec]:
    """As submission does."""
    return [spec_of(dict(each), catalogue) for each in requested]


def succeeded(record: JobView) -> JobView:
    """The record of a job that made its images. Raises `JobFailed` for another."""
    if record.status is not Status.SUCCEEDED:
        error = record.error
        raise JobFailed(record.id, error.code if error else record.status, error.message if error else "no images")
    return record
