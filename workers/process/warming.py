"""Tries a model that an engine has been given, and has what is compiled compiled, before a job meets it."""

from __future__ import annotations

import time
from typing import Any

import structlog

from jobs.errors import ErrorCode, InvalidConfiguration
from jobs.kinds.generate import GenerateSpec
from workers.engine.engine import Engine
from workers.engine.errors import GenerationFailed, WrongPictures
from workers.families.family import PictureFamily

log = structlog.get_logger()

_WARM_UP_STEPS = 2
_MOST_IMAGES = 64  # of a job


def warm_up(engine: Engine, adapter: PictureFamily[Any], **fields: int) -> int:
    """
    Make a picture of default size, or edit one where the model does nothing else. Returns how many share a pass.

    Args:
        fields: Of its job, in the place of defaults.
    """
    entry = adapter.entry
    steps = min(_WARM_UP_STEPS, entry.defaults.num_inference_steps)
    said = {"model": entry.name, "prompt": "a picture", "seed": 0, "num_inference_steps": steps}
    spec = GenerateSpec.model_validate(entry.defaults.model_dump() | said | fields)
    ticket = engine.submit(entry.name, adapter.work_to_try(spec))
    try:
        ticket.result()
    except WrongPictures as exc:
        raise InvalidConfiguration(
            f"model {entry.name} does not make what its defaults ask: {exc.found}. "
            f"Correct defaults and limits of [models.{entry.name}] in models.toml"
        ) from exc
    except GenerationFailed as exc:
        if exc.code != ErrorCode.INVALID_OUTPUT:  # Two steps may end anywhere; that it ran is what counts.
            raise InvalidConfiguration(f"model {entry.name} makes no picture: {exc.detail}") from exc
    return ticket.jobs_a_pass


def compile_passes(engine: Engine, adapter: PictureFamily[Any]) -> None:
    """
    Have passes of each size of pictures that its entry names compiled, of 1, 2, 4 … jobs up to what shares a pass.

    Raises:
        InvalidConfiguration: One of them is not made.
    """
    entry = adapter.entry
    if adapter.compiled is None:
        return
    started = time.perf_counter()
    for width, height in dict.fromkeys([(entry.defaults.width, entry.defaults.height), *entry.compile_sizes]):
        most = min(warm_up(engine, adapter, width=width, height=height), _MOST_IMAGES)
        images = 2
        while images <= most:
            warm_up(engine, adapter, width=width, height=height, n=images)
            images *= 2
    adapter.compiled.close()
    log.info("model compiled", model=entry.name, seconds=round(time.perf_counter() - started, 1))
