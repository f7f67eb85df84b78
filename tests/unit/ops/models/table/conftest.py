"""A folder that is the machine's only catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMAGEMILL_MODELS_FILE", str(tmp_path / "models.toml"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))  # No GPU's driver says how much it has.
    return tmp_path


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
