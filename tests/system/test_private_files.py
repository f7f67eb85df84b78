"""What the stack writes is for its user alone, whatever umask it is started with; what the user asked for is not."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.process import wait_until
from ops.programs import Api, Program
from tests.system.conftest import CHECKOUT

_START_S = 600.0
_PICTURE_S = 240.0
UMASK = 0o022
LISTEN = ("REDIS", "S3", "FLOWER", "API", "API_METRICS", "WORKER_METRICS")
PORTS = {f"IMAGEMILL_STACK_{name}_PORT": "0" for name in LISTEN}
STEP = re.compile(r"^  (.*\./imagemill submit .*)$", re.MULTILINE)


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A stack's folder as an earlier version left it: for all to read."""
    folder = tmp_path / "stack"
    for each in (folder, folder / "data", folder / "data" / "s3"):
        each.mkdir()
        each.chmod(0o755)
    return folder


@pytest.fixture
def up(earlier: Path, tmp_path: Path) -> Iterator[Path]:
    """`./imagemill up` in that folder; gives the file with what it prints."""
    own = PORTS | {"IMAGEMILL_STACK_FOLDER": str(earlier), "IMAGEMILL_WORKER_CACHE_DIR": str(tmp_path / "cache")}
    env = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEMILL_")} | own
    printed = tmp_path / "printed"
    with printed.open("w") as out:
        command = [str(CHECKOUT / "imagemill"), "up"]
        child = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT, umask=UMASK)
        try:
            assert wait_until(lambda: child.poll() is not None or bool(STEP.search(printed.read_text())), _START_S)
            assert child.poll() is None, printed.read_text()
            yield printed
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(_PICTURE_S)


def open_to_others(*folders: Path) -> list[str]:
    """What a folder holds, itself too, that its group or others may do anything with."""
    found = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    return [f"{path} {stat.filemode(path.lstat().st_mode)}" for path in found if path.lstat().st_mode & 0o077]


@pytest.mark.timeout(1200)
def test_nobody_else_reads_what_the_stack_writes(up: Path, earlier: Path, tmp_path: Path) -> None:
    shown = STEP.search(up.read_text())
    assert shown
    done = subprocess.run(
        [str(shutil.which("bash")), "-euc", shown[1].replace("./imagemill", str(CHECKOUT / "imagemill"))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PICTURE_S,
        umask=UMASK,
    )
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE((tmp_path / "circle.png").stat().st_mode) == 0o666 & ~UMASK

    data, cache = earlier / "data", tmp_path / "cache"
    written = {path.relative_to(data).parts[0] for path in data.rglob("*") if path.is_file()}
    assert written >= {"redis", "s3", "flower"}
    # What the earlier version left inside is behind a door that is closed now.
    left = {str(earlier), str(data / "s3")}
    assert [each for each in open_to_others(earlier, cache) if each.rpartition(" ")[0] not in left] == []
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_worker_and_api_write_so_by_themselves(worker: Program, api: Api) -> None:
    for process in (worker, api):
        said = Path(f"/proc/{process.pid}/status").read_text()
        assert re.search(r"^Umask:\t0077$", said, re.MULTILINE), process.name
