"""What is wrong with an entry of `models.toml`, as a sentence that names the model, the key and its line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jobs.catalogue.entry import Model
from jobs.catalogue.lines import Lines
from jobs.errors import InvalidConfiguration
from jobs.fields import reason_of

_SHOWN = 3  # of what is wrong with one entry
_KEY = re.compile(r"[\w-]+(\.[\w-]+)*")  # at the beginning of what a check of the entry itself says


def entries_of(tables: Mapping[str, Any], lines: Lines, path: Path) -> dict[str, Model]:
    """
    The entries of a file, by name.

    Args:
        tables: What the file says.
        lines: Where it says it.

    Raises:
        InvalidConfiguration: One is wrong; says which, on which line, and why.
    """
    for name in tables:
        if name != "models":
            known = "entries are tables like [models.mine]"
            raise InvalidConfiguration(
                f"model catalogue {path}, line {lines.of([name])}: unknown key {name!r}; {known}"
            )
    models = tables.get("models", {})
    if not isinstance(models, dict):
        raise InvalidConfiguration(f"model catalogue {path}, line {lines.of(['models'])}: models is no table")
    return {name: _entry(name, table, lines, path) for name, table in models.items()}


def _entry(name: str, table: Any, lines: Lines, path: Path) -> Model:
    at = f"model catalogue {path}, line {lines.of(['models', name])}: model {name}"
    if not isinstance(table, dict):
        raise InvalidConfiguration(f"{at} is no table; write its lines below [models.{name}]")
    if "name" in table:
        line = lines.of(["models", name, "name"])
        raise InvalidConfiguration(f"{at}: name (line {line}): it is what [models.{name}] says; leave it out")
    try:
        return Model(name=name, **table)
    except ValidationError as exc:
        raise InvalidConfiguration(f"{at}: {describe(exc, name, lines)}") from exc


def describe(exc: ValidationError, name: str, lines: Lines | None = None) -> str:
    """
    What is wrong with an entry, as the end of a sentence.

    Args:
        name: Of the model.
        lines: Where its file says it; None where it is in no file.
    """
    said = [_said(error, name, lines) for error in exc.errors(include_url=False)]
    more = f"; and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
    return f"{'; '.join(said[:_SHOWN])}{more}"


def _said(error: Any, name: str, lines: Lines | None) -> str:
    keys, reason = [str(part) for part in error["loc"]], reason_of(error)
    if error["type"] == "value_error" and (found := _KEY.match(reason)):
        keys += found[0].split(".")
        reason = reason.removeprefix(found[0]).removeprefix(":").strip()
    if error["type"] == "extra_forbidden":
        near = get_close_matches(keys[-1], Model.model_fields if len(keys) == 1 else (), n=1)
        reason = f"unknown key; is {near[0]} meant?" if near else "unknown key"
    line = f" (line {lines.of(['models', name, *keys])})" if lines else ""
    return f"{'.'.join(keys)}{line}: {reason}"
