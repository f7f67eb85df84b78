"""The dashboard that `./imagemill dashboard` prints."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import combinations
from typing import Any

import pytest
from pydantic import ValidationError

from ops.dashboard.dashboard import dashboard
from ops.dashboard.panel import Panel

PAGE_COLUMNS = 24


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    place = panel["gridPos"]
    across, down = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
    return {(x, y) for x in across for y in down}


def test_command_prints_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli", "dashboard"], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == dashboard()


def test_panels_have_numbers_and_places_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    assert not [(a["title"], b["title"]) for a, b in combinations(panels, 2) if cells(a) & cells(b)]
    assert {x for panel in panels for x, _ in cells(panel)} == set(range(PAGE_COLUMNS))


def test_queries_of_a_panel_have_names_of_their_own() -> None:
    for panel in dashboard()["panels"]:
        names = [target["refId"] for target in panel.get("targets", [])]
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "fields", [{"lines": {}}, {"lines": {"": "1"}, "color": {"base": "red"}}], ids=["none", "misspelt"]
)
def test_panel_that_says_nothing_or_something_unknown_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Panel(title="A", about="B", **fields)
