"""
Whether a model is guided as its entry in the catalogue says.

Submission refuses by the entry what would have no effect; where it says what is not so, it refuses what would have one,
or takes what has none.
"""

from __future__ import annotations

from typing import Any

from jobs.errors import InvalidConfiguration
from workers.families.family import PictureFamily


def check_guidance(adapter: PictureFamily[Any]) -> None:
    """Raise `InvalidConfiguration` where an entry says of its model's guidance or negative prompt what is not so."""
    entry, found = adapter.entry, adapter.guidance
    if found is not None and entry.how_guided not in (None, found) and not _is_unused(adapter):
        raise InvalidConfiguration(
            f'model {entry.name}: set guidance = "{found}" of [models.{entry.name}] in models.toml: '
            "that is what guidance_scale is of its pipeline"
        )
    if adapter.takes_negative_prompt is False and entry.takes_negative_prompt:
        raise InvalidConfiguration(
            f"model {entry.name}: set negative_prompt = false of [models.{entry.name}] in models.toml: "
            "its pipeline takes none"
        )


def _is_unused(adapter: PictureFamily[Any]) -> bool:
    """Whether an operator keeps a guidance from callers that is off, or always the same: a model that was distilled."""
    entry = adapter.entry
    is_off = entry.defaults.guidance_scale <= entry.traits.guided_above
    return entry.how_guided == "none" and (adapter.guidance == "embedded" or is_off)
