"""Where `--out` cannot save, a command says so in a sentence, before anything is queued where that can be seen then."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.errors import InvalidRequest
from producer.cli.commands import app
from producer.cli.results.saving import check_file, make_folder, saving


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


WRONG = [
    ("folder", "is a folder: name a file in it"),
    (".", "is a folder"),
    ("/", "is a folder"),
    ("", "is a folder"),
    ("gone/picture.png", "there is no folder"),
    ("file/picture.png", "is no folder"),
    ("x" * 300, "cannot write"),
    ("loop/picture.png", "there is no folder|cannot write"),
]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("out", "why"), WRONG)
@pytest.mark.parametrize("command", ["submit", "wait"])
def test_command_says_what_is_wrong_with_its_option_and_asks_nobody_else(command: str, out: str, why: str) -> None:
    result = CliRunner().invoke(app, [command, "a circle", "--out", out, "--json"])
    assert result.exit_code == 2, result.output
    error = json.loads(result.stdout)["error"]
    assert error["field"] == "out"
    with pytest.raises(InvalidRequest, match=f"^out: .*({why})"):
        check_file(Path(out))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("out", ["picture.png", "folder/picture.png", "file", "/dev/null"])
def test_file_that_can_be_written_is_taken(out: str) -> None:
    check_file(Path(out))
    assert not Path("picture.png").exists()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("out", "why"), [("file", "is a file"), ("file/x", "cannot write"), ("x" * 300, "cannot write")]
)
def test_folder_that_cannot_be_made_is_refused(out: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^out: .*{why}"):
        make_folder(Path(out))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_of_another_is_refused(here: Path) -> None:
    (here / "folder").chmod(0o500)
    with pytest.raises(InvalidRequest, match="may not"):
        check_file(here / "folder" / "picture.png")
    with pytest.raises(InvalidRequest, match="may not"):
        make_folder(here / "folder")


def test_disk_that_fills_up_is_a_sentence_that_says_what_to_do() -> None:
    with (
        pytest.raises(InvalidRequest, match=r"^out: cannot write /dev/full: .*; take another$"),
        saving(Path("/dev/full"), "; take another"),
    ):
        Path("/dev/full").write_bytes(b"x")
