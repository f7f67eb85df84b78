"""What tests have forked is what a user starts: it says the same, in the same way."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from jobs.version import VERSION
from ops.process import LOOPBACK, free_port
from ops.settings import CHECKOUT
from tests.warm.popen import cold


def run(
    how: AbstractContextManager[None], *args: str, env: Mapping[str, str] | None = None, cwd: Path
) -> tuple[int, str, str]:
    with how:
        done = subprocess.run(
            [str(CHECKOUT / "imagemill"), *args],
            env={**os.environ, **(env or {})},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["status", "some-job"], 3),
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in ((["--version"], 0), (["submit"], 2), (["--help"], 0))
        ),
    ],
    ids=str,
)
def test_command_says_the_same_and_ends_alike(tmp_path: Path, args: list[str], code: int) -> None:
    env = {"IMAGEMILL_REDIS_URL": f"redis://{LOOPBACK}:{free_port()}/0", "COLUMNS": "100"}
    forked, started = (run(how, *args, env=env, cwd=tmp_path) for how in (nullcontext(), cold()))
    assert forked == started
    assert forked[0] == code


def test_forked_command_has_the_environment_and_the_folder_that_it_is_given(tmp_path: Path) -> None:
    code, out, _ = run(nullcontext(), "--version", cwd=tmp_path)
    assert (code, out.strip()) == (0, VERSION)
    (tmp_path / "models.toml").write_text("[models.x]\n", "utf-8")
    code, _, err = run(nullcontext(), "submit", "a", env={"IMAGEMILL_MODELS_FILE": "models.toml"}, cwd=tmp_path)
    assert (code, "models.toml" in err) == (2, True), err
