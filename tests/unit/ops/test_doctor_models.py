"""What the doctor makes of the catalogue's sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.catalogue.catalogue import Catalogue
from ops.doctor.finding import State
from ops.doctor.models import check_models, judge_source

BUILT_IN = Catalogue.read(Path(__file__).parents[3] / "models.toml").models["shapes"]


@pytest.mark.parametrize(
    ("source", "state", "found"),
    [
        ("whole/model", State.OK, "whole/model"),
        ("whole/empty", State.FAILURE, "has no model_index.json"),
        ("whole/gone", State.FAILURE, "there is no folder"),
        ("/no/such/folder", State.FAILURE, "there is no folder /no/such/folder"),
        ("./model", State.FAILURE, "there is no folder"),
        ("a/b/c", State.FAILURE, "there is no folder"),
        ("stabilityai/sdxl-turbo", State.INFORMATION, f"stabilityai/sdxl-turbo at {'a1' * 20}, from the hub"),
    ],
)
def test_source(tmp_path: Path, source: str, state: State, found: str) -> None:
    for folder in ("model", "empty"):
        (tmp_path / "whole" / folder).mkdir(parents=True)
    (tmp_path / "whole" / "model" / "model_index.json").write_text("{}")
    finding = judge_source(BUILT_IN.model_copy(update={"source": source, "revision": "a1" * 20}), tmp_path)
    assert finding.state is state
    assert found in finding.found


@pytest.mark.parametrize("revision", ["main", "v1.0", "a1" * 19, "A1" * 20])
def test_revision_of_the_hub_that_is_no_commit_is_a_failure(tmp_path: Path, revision: str) -> None:
    finding = judge_source(BUILT_IN.model_copy(update={"source": "somebody/sdxl", "revision": revision}), tmp_path)
    assert finding.state is State.FAILURE
    assert f"revision {revision!r} is no commit" in finding.found
    assert finding.advice is not None
    assert 'Set revision = "<commit>" of [models.shapes] in models.toml' in finding.advice


def test_simulated_model_has_no_folder(tmp_path: Path) -> None:
    simulated = BUILT_IN.model_copy(update={"family": "simulated", "source": "launch_s=0.02"})
    assert judge_source(simulated, tmp_path).state is State.INFORMATION


def test_family_that_there_is_not_is_a_failure(tmp_path: Path) -> None:
    finding = judge_source(BUILT_IN.model_copy(update={"family": "flux-3"}), tmp_path)
    assert finding.state is State.FAILURE
    assert "there is no family 'flux-3'; there are aura-flow, chroma, diffusers, flux, " in finding.found
    assert "family" in finding.advice


def test_built_in_models_are_found() -> None:
    assert [(each.check, each.state) for each in check_models()] == [
        ("model catalogue", State.OK),
        ("model shapes-flow", State.OK),
        ("model shapes", State.OK),
    ]


@pytest.mark.parametrize("text", [None, "[models.a]\nsource = 1", "no toml", "[models]"])
def test_catalogue_that_cannot_be_read_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    path = tmp_path / "models.toml"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("IMAGEMILL_MODELS_FILE", str(path))
    (finding,) = check_models()
    assert finding.state is State.FAILURE
    assert str(path) in finding.found
