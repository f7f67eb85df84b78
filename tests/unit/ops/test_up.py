"""What `./imagemill up` says when everything answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.settings import CHECKOUT, load_stack_settings
from ops.stack import local_stack
from ops.up import welcome


def commands(folder: Path, models_file: Path | None = None) -> list[str]:
    """Lines that are to be typed in another terminal."""
    settings = load_stack_settings(folder=folder, redis_port=0, s3_port=0, flower_port=0, api_port=0)
    variables = {"IMAGEMILL_MODELS_FILE": str(models_file)} if models_file else {}
    lines = welcome(local_stack(settings, folder / "data", variables), settings).splitlines()
    return [line for line in lines if "./imagemill" in line]


def test_commands_to_type_name_another_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMAGEMILL_MODELS_FILE", raising=False)
    assert not any("MODELS_FILE" in line for line in commands(tmp_path))
    own = tmp_path / "models.toml"
    own.write_text((CHECKOUT / "models.toml").read_text("utf-8"), "utf-8")
    typed = commands(tmp_path, own)
    assert len(typed) == 2
    assert all(f"IMAGEMILL_MODELS_FILE={own} " in line for line in typed)
