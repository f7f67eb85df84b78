"""
The families by name. Each is a module beside this one, `stable-diffusion` in `stable_diffusion.py`, with a `FAMILY`.

It is imported when a model needs it: most bring libraries that take seconds.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.catalogue.entry import Model
from jobs.errors import InvalidConfiguration

if TYPE_CHECKING:
    from workers.families.family import Family

_DECLARATION = re.compile(r"^FAMILY\b.*= Family\(\s*pipeline=(?P<pipeline>\w+)", re.MULTILINE)


def check_family(entry: Model) -> None:
    """
    Make sure that there is the family that a model's entry names. Nothing is imported for it.

    Raises:
        InvalidConfiguration: There is none of that name.
    """
    if entry.family not in families():
        raise InvalidConfiguration(
            f"model {entry.name}: there is no family {entry.family!r}; there are {', '.join(families())}"
        )


def family_of(entry: Model) -> Family:
    """
    The family that a model's entry names.

    Raises:
        InvalidConfiguration: There is none of that name.
    """
    check_family(entry)
    module = importlib.import_module(f"workers.families.{entry.family.replace('-', '_')}")
    family: Family = module.FAMILY
    return family


def families() -> list[str]:
    """The names of all families. Nothing is imported for it."""
    return sorted(_pipelines())


def family_of_pipeline(class_name: str) -> str | None:
    """The family whose models are loaded by a class of diffusers, or by its sibling for edits; None where none is."""
    plain = re.sub("Img2Img|Inpaint", "", class_name)
    return next((family for family, pipeline in _pipelines().items() if pipeline == plain), None)


def _pipelines() -> dict[str, str]:
    """The class that loads the models of each family, as its module says: "None" of one without weights."""
    modules = Path(__file__).parent.glob("*.py")
    found = {each.stem: _DECLARATION.search(each.read_text("utf-8")) for each in modules}
    return {stem.replace("_", "-"): match["pipeline"] for stem, match in found.items() if match}
