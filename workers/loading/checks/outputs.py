"""
What a pipeline of diffusers makes: pictures, or something else, of which nothing here makes a file.

No class says it but by what its call returns, so that is read: a model of video has tens of gigabytes, and would make
its first frames before anybody knew.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Mapping
from typing import Any

import diffusers

from jobs.catalogue.entry import Model
from workers.loading.errors import NotLoaded

_PICTURES = {"images", "image"}  # The second is Kandinsky 5's.
_MADE = {"frames": "videos", "video": "videos", "audios": "sound", "texts": "texts", "rgb": "pictures with depth"}
_OUTPUT = re.compile(r"\b(\w*Output)\(")


def check_output(index: Mapping[str, Any], entry: Model) -> None:
    """Raise `NotLoaded` where the pipeline of a `model_index.json` makes something else than pictures."""
    if other := other_output(str(index.get("_class_name"))):
        raise NotLoaded(f"{other}; correct source of [models.{entry.name}] in models.toml")


def other_output(class_name: str) -> str | None:
    """
    What a pipeline makes that is no picture, as a sentence without its end; None where that does not show.

    Args:
        class_name: As `model_index.json` has it.
    """
    kind = getattr(diffusers, class_name, None)
    fields = _fields_of(kind) if inspect.isclass(kind) else set()
    if not fields or fields & _PICTURES:
        return None
    made = next((what for field, what in _MADE.items() if field in fields), "embeddings")
    return f"{class_name} makes {made}, and this serves models that make pictures"


def _fields_of(kind: Any) -> set[str]:
    """Of the dataclasses that its call makes."""
    call = inspect.unwrap(kind.__call__)
    try:
        named = set(_OUTPUT.findall(inspect.getsource(call)))
    except (OSError, TypeError):  # There is no source of it.
        return set()
    found = (getattr(sys.modules[call.__module__], name, None) for name in named)
    return {field.name for each in found if dataclasses.is_dataclass(each) for field in dataclasses.fields(each)}
