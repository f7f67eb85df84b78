"""The version is said in two places, and they agree; the changelog knows it."""

from __future__ import annotations

import re
import tomllib

from jobs.version import VERSION
from ops.settings import CHECKOUT


def test_project_says_the_same_version() -> None:
    assert tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_changelog_tells_of_it_with_a_date() -> None:
    assert re.search(rf"^## {re.escape(VERSION)} – \d{{4}}-\d\d-\d\d$", (CHECKOUT / "CHANGELOG.md").read_text(), re.M)
