"""Findings for a person: a table, and a sentence below it."""

from __future__ import annotations

from collections import Counter

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ops.doctor.finding import Finding, State

_STYLES = {
    State.OK: "green",
    State.INFORMATION: "cyan",
    State.UNCHECKED: "dim",
    State.WARNING: "yellow",
    State.FAILURE: "bold red",
}
_MARKS = {State.OK: "✓", State.INFORMATION: "·", State.UNCHECKED: "–", State.WARNING: "!", State.FAILURE: "✗"}


def show(groups: list[list[Finding]], console: Console) -> None:
    """Print the table, and how many of each kind there are, the worst first."""
    table = Table("", "check", "what was found", box=box.SIMPLE, pad_edge=False)
    for group in groups:
        for finding in group:
            style = _STYLES[finding.state]
            state = Text(f"{_MARKS[finding.state]} {finding.state}", style=style, no_wrap=True)
            table.add_row(state, Text(finding.check, no_wrap=True), _story(finding))
        table.add_section()
    console.print(table)
    console.print(_sum_up([finding for group in groups for finding in group]))


def _story(finding: Finding) -> Text:
    story = Text(finding.found, style="dim" if finding.state is State.UNCHECKED else "")
    if finding.advice:
        story.append(f"\n→ {finding.advice}", style=_STYLES[finding.state])
    return story


def _sum_up(findings: list[Finding]) -> Text:
    counts = Counter(finding.state for finding in findings)
    parts = [(f"{_plural(counts[state], state)}", _STYLES[state]) for state in reversed(State) if counts[state]]
    return Text(", ").join(Text(*part) for part in parts)


def _plural(count: int, state: State) -> str:
    noun = {State.WARNING, State.FAILURE}
    return f"{count} {state}s" if state in noun and count != 1 else f"{count} {state}"
