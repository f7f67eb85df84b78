"""What a benchmark found: a table for people, and a file with every round and what it was measured on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """
    One line of the table.

    Attributes:
        unit: Behind the value, e.g. "images/s"; "×" for a ratio.
        target: What was hoped for; nothing fails without it.
        at_most: The target is a ceiling rather than a floor.
    """

    what: str
    value: float
    unit: str = ""
    target: float | None = None
    at_most: bool = False

    @property
    def is_met(self) -> bool | None:
        """None where there is no target."""
        if self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    A benchmark's result.

    Attributes:
        name: Of its files.
        surroundings: Device, versions, date.
        rounds: Everything that was measured, round by round.
    """

    name: str
    title: str
    figures: Sequence[Figure]
    surroundings: Mapping[str, Any]
    rounds: Mapping[str, Any] = field(default_factory=dict)


def publish(report: Report, folder: Path, console: Console) -> None:
    """Print the table and write `<name>.json` into `folder`, where `<name>.png` is already."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = [{**dataclasses.asdict(each), "is_met": each.is_met} for each in report.figures]
    content = {"title": report.title, "figures": figures} | {
        "surroundings": dict(report.surroundings),
        "rounds": dict(report.rounds),
    }
    (folder / f"{report.name}.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    console.print(to_table(report))
    console.print(f"written to {folder}/{report.name}.json and {report.name}.png", highlight=False)


def to_table(report: Report) -> Table:
    """The figures, with targets where there are any."""
    table = Table("what", "value", "target", "met", title=report.title, title_justify="left")
    for each in report.figures:
        target = "" if each.target is None else f"{'≤' if each.at_most else '≥'} {_number(each.target)}"
        met = {None: "", True: "yes", False: "no"}[each.is_met]
        table.add_row(each.what, f"{_number(each.value)} {each.unit}".strip(), target, met)
    return table


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
