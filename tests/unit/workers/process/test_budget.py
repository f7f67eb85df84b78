"""Which models are loaded at the start, and of which devices all are."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.catalogue.catalogue import Catalogue
from jobs.errors import InvalidConfiguration
from ops.settings import CHECKOUT
from tests.blackbox.system import simulated
from workers.process.devices.own import place
from workers.process.residency.budget import Budget, budget_of
from workers.process.settings import WorkerSettings


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    """Four of 10 GB and one of 30."""
    entries = [simulated(name, more="memory_gb = 10") for name in "abcd"] + [simulated("e", more="memory_gb = 30")]
    file = tmp_path / "models.toml"
    file.write_text("".join(entries), "utf-8")
    return Catalogue.read(file)


def of(catalogue: Catalogue, settings: WorkerSettings) -> Budget | None:
    return budget_of(catalogue, place(catalogue, settings), settings)


@pytest.mark.parametrize(
    ("settings", "first", "room_gb"),
    [
        ({"models_gb": 25}, ["a", "b"], 25),
        ({"models_gb": 45}, ["a", "b", "c", "d"], 45),
        ({"models_gb": 45, "pinned": "e"}, ["e", "a"], 45),
        ({"models_gb": 45, "pinned": "a"}, ["a", "b", "c", "d"], 45),
        ({"models_gb": 70}, None, None),
        ({"devices": "simulated:60"}, ["a", "b", "c", "d"], 45),
        ({"devices": "simulated:32"}, ["a", "b", "c"], 30),  # The largest goes there by itself.
        ({"devices": "simulated:96"}, None, None),
        ({"models_gb": 70, "unload_idle_s": 60}, list("abcde"), 70),
        ({"unload_idle_s": 60}, list("abcde"), 70),
        ({}, None, None),  # A processor has no bound by itself.
    ],
)
def test_as_many_are_loaded_as_fit(
    catalogue: Catalogue, settings: dict[str, object], first: list[str] | None, room_gb: float | None
) -> None:
    budget = of(catalogue, WorkerSettings.model_validate({"device": "cpu", **settings}))
    assert (budget and budget.first()) == first
    assert (budget and budget.room_gb) == room_gb


def test_model_that_never_fits_is_left_out_with_why(catalogue: Catalogue) -> None:
    placement = place(catalogue, WorkerSettings(device="cpu", models_gb=25))
    assert (placement.models, placement.left_out) == (("a", "b", "c", "d"), ("e",))
    assert placement.why == "cpu has no memory of its own, and e takes 30 where models may take 25 (memory_gb)"


def test_pinned_models_have_to_fit_and_to_be_served(catalogue: Catalogue) -> None:
    with pytest.raises(InvalidConfiguration, match="PINNED: a, b, c take 30 GB, and there is room for 25"):
        of(catalogue, WorkerSettings(device="cpu", models_gb=25, pinned="a,b,c"))
    with pytest.raises(InvalidConfiguration, match="PINNED: e leave 5 of 35 GB, and a takes 10; pin less, or serve it"):
        of(catalogue, WorkerSettings(device="cpu", models_gb=35, pinned="e"))
    with pytest.raises(InvalidConfiguration, match="PINNED: this worker does not serve 'x'; it serves a"):
        of(catalogue, WorkerSettings(device="cpu", models_gb=25, pinned="x"))


def test_entry_that_does_not_say_what_it_takes_is_named(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text(simulated("a", more="memory_gb = 10") + simulated("b"), "utf-8")
    catalogue = Catalogue.read(file)
    with pytest.raises(InvalidConfiguration, match=r"memory_gb of \[models\.b\] in models.toml is not set"):
        of(catalogue, WorkerSettings(device="cpu", models_gb=15))
    assert of(catalogue, WorkerSettings(devices="simulated:12")) is None  # As without a bound: all at the start.


def test_model_that_is_compiled_has_to_stay(tmp_path: Path) -> None:
    more = {"[models.shapes]": 'memory_gb = 10\ncompile = "blocks"', "[models.shapes-flow]": "memory_gb = 4"}
    text = (CHECKOUT / "models.toml").read_text("utf-8") + simulated("sim", more="memory_gb = 4")
    for header, lines in more.items():
        text = text.replace(header, f"{header}\n{lines}", 1)
    file = tmp_path / "models.toml"
    file.write_text(text, "utf-8")
    catalogue = Catalogue.read(file)
    with pytest.raises(InvalidConfiguration, match=r"compile of \[models\.shapes\] in models.toml: .*; pin it"):
        of(catalogue, WorkerSettings(device="cpu", models_gb=15))
    budget = of(catalogue, WorkerSettings(device="cpu", models_gb=15, pinned="shapes"))
    assert budget is not None and budget.first() == ["shapes", "shapes-flow"]
