"""The only way to the terminal: all output goes through here, and control characters in it have no effect."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Column, Table

from jobs.process.visible import visible, visible_json


class Terminal(Console):
    """
    Rich's console, for texts of others: what they are made of is shown, and their brackets and colons mean nothing.

    Our own styles are said with `markup=True`, with `rich.markup.escape` around what is others'.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does; its own moves of the cursor are segments of another sort."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)


def table_of(*headers: str | Column) -> Table:
    """A table whose cells are shown to their last character: a narrow terminal breaks a long name, and cuts none."""
    return Table(*(each if isinstance(each, Column) else Column(each, overflow="fold") for each in headers))


def say(sentence: str, *, err: bool = False) -> None:
    """Print a sentence on a line of its own; `err`: beside what a script reads."""
    typer.echo(visible(sentence), err=err)


def print_json(value: dict[str, Any]) -> None:
    """One object, one line; a program that parses it gets the exact values."""
    sys.stdout.write(visible_json(json.dumps(value, ensure_ascii=False)) + "\n")
    sys.stdout.flush()
