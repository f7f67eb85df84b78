"""`make test-loaded` says which tests fail, and leaves no loop behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.loaded import busy, main
from tests.processes import children_of, is_alive

FAILS = """
from __future__ import annotations

def test_passes() -> None:
    pass

def test_fails() -> None:
    assert not __file__
"""


def test_failed_test_is_named_with_how_often_it_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # Their imports take seconds.
    (tmp_path / "test_it.py").write_text(FAILS, "utf-8")
    code = main(["--loops", "0", "--rounds", "1", str(tmp_path / "test_it.py")])
    printed = capsys.readouterr().out
    assert code == 1
    assert "failed in 1 of 1 rounds: " in printed
    assert "::test_fails\n" in printed
    assert "0 of 1 rounds passed beside 0 busy loops" in printed


def test_loops_are_gone_whatever_happens() -> None:
    before = set(children_of(os.getpid()))
    with pytest.raises(ZeroDivisionError), busy(2):
        loops = set(children_of(os.getpid())) - before
        assert len(loops) == 2
        raise ZeroDivisionError
    assert not any(is_alive(each) for each in loops)
