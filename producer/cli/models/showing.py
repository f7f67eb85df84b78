"""`./imagemill models show`: one entry whole, with what it leaves out as it is then."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from jobs.catalogue.entry import Model
from jobs.catalogue.takes import takes_of
from producer.cli.models.listing import UNKNOWN, print_rows
from producer.cli.models.served import living_workers, say_serving, serving
from producer.cli.output.reporting import JsonFlag, reporting
from producer.cli.output.terminal import print_json, say
from producer.client.parts import open_parts

# What stands for a line that an entry leaves out, where that depends on others of its lines.
_DERIVED: dict[str, Callable[[Model], Any]] = {
    "edits": lambda model: model.ways_to_edit,
    "guidance": lambda model: model.how_guided,
    "negative_prompt": lambda model: model.takes_negative_prompt,
    "limits.side_multiple": lambda model: model.side_multiple,
    "limits.max_references": lambda model: model.max_references,
    "limits.max_output_pixels": lambda model: model.limits.output_pixels,
    "limits.max_job_output_pixels": lambda model: model.limits.job_output_pixels,
}
# Of which nothing at all is a value, and not what only a worker knows.
_MAY_BE_ABSENT = {"edits", "guidance", "negative_prompt", "limits.max_references"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One of an entry: its value, and whether the entry says it or leaves it to a default."""

    field: str
    value: Any
    is_said: bool


def show(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    as_json: JsonFlag = False,
) -> None:
    """Show one model: every line of its entry, with those that it leaves out, and who serves it."""
    with reporting(as_json):
        parts = open_parts()
        model = parts.catalogue.find(name)
        source = parts.catalogue.source_of(model)
        served = serving(name, living_workers(parts))
        if as_json:
            lines = {line.field: {"value": line.value, "said": line.is_said} for line in lines_of(model)}
            print_json({"model": name, "place": source, "entry": lines, "takes": _takes(model), "workers": served})
            return
        say(name)
        rows = {line.field: _worded(line) for line in lines_of(model)}
        if source != model.source:
            rows["source"] = f"{model.source} ({source})"
        print_rows(rows | {"served by": say_serving(served)})


def lines_of(model: Model) -> Iterator[Line]:
    """Every line that the entry of a model has, or could have."""
    yield from _lines(model, model, "")


def _lines(model: Model, part: BaseModel, prefix: str) -> Iterator[Line]:
    shown = part.model_dump(mode="json")
    for name in type(part).model_fields:
        field, value = f"{prefix}{name}", getattr(part, name)
        is_said = name in part.model_fields_set
        if field == "name":
            continue
        if isinstance(value, BaseModel):
            yield from _lines(model, value, f"{field}.")
        elif is_said or field not in _DERIVED:
            yield Line(field=field, value=shown[name], is_said=is_said)
        else:
            yield Line(field=field, value=_DERIVED[field](model), is_said=False)


def _takes(model: Model) -> dict[str, Any]:
    return takes_of(model).model_dump(mode="json")


def _worded(line: Line) -> str:
    if line.value is None:
        return UNKNOWN if line.field in _MAY_BE_ABSENT else "not set (default)"
    return _plain(line.value) + ("" if line.is_said else " (default)")


def _plain(value: Any) -> str:
    match value:
        case str():
            return value
        case list():
            return ", ".join(map(_plain, value))
        case dict():
            said = {key: each for key, each in value.items() if each is not None}
            return ", ".join(f"{key}: {_plain(each)}" for key, each in said.items()) or "none"
        case _:
            return json.dumps(value)
