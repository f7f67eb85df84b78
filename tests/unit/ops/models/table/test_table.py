"""
The table of sources: of each what `models check` says, what the start of a worker says, and what a job does.

A worker starts by `load_model` and the checks of what it loaded; whatever they raise but `InvalidConfiguration`, which
ends it for good with its sentence, would be a traceback and another start. `tests/unit/ops/models/test_said.py` has
further broken folders, and `tests/blackbox/test_models.py` real workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.ops.models.table.asked import assert_refused, assert_served
from tests.unit.ops.models.table.broken import BROKEN
from tests.unit.ops.models.table.good import GOOD
from tests.unit.workers.adapters import QUIET

pytestmark = [pytest.mark.filterwarnings(QUIET), pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks`")]

# The others are `long`; those in a store are in test_stored_table.py.
_QUICK = (
    "folder",
    "file of SDXL without a configuration",
    "class of another family",
    "text encoder's tensor that no file has",
)


def parameters(names: Mapping[str, Any]) -> list[Any]:
    here = (name for name in names if not GOOD[BROKEN[name].of if name in BROKEN else name].is_stored)
    return [name if name in _QUICK else pytest.param(name, marks=pytest.mark.long) for name in here]


def test_table_has_as_many_as_were_asked_for() -> None:
    assert len(GOOD) + len(BROKEN) >= 50


@pytest.mark.parametrize("name", parameters(GOOD))
def test_source_is_served(name: str, folder: Path) -> None:
    assert_served(name, folder)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", parameters(BROKEN))
def test_source_is_refused_in_a_sentence(name: str, folder: Path) -> None:
    assert_refused(name, folder)
