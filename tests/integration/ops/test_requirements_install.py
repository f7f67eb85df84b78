"""requirements/install takes the bytes that a file lists, and no others."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import venv
import zipfile
from pathlib import Path

import pytest

from ops.settings import CHECKOUT

_INSTALL_S = 600  # some starts of pip, each of which takes a minute on a machine with much other work
NVIDIA = "Requires-Dist: nvidia-thing==1; sys_platform == 'linux'\n"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment") / "empty"
    venv.create(folder, with_pip=True, symlinks=True)
    return folder


@pytest.fixture
def python(empty: Path) -> Path:
    return empty / "bin" / "python"


def make_wheel(folder: Path, name: str, metadata: str = "", version: str = "1") -> str:
    """A wheel with nothing in it; gives its sha256."""
    info = f"{name}-{version}.dist-info"
    file = folder / f"{name}-{version}-py3-none-any.whl"
    head = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", head + metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(file.read_bytes()).hexdigest()


def install(
    folder: Path, python: Path, wanted: str = "some", **files: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    shutil.copy(CHECKOUT / "requirements" / "install", folder)
    for name, packages in files.items():
        lines = [f"{package}==1 --hash=sha256:{digest}\n" for package, digest in packages.items()]
        (folder / f"{name}.txt").write_text("".join(lines), "utf-8")
    command = [str(folder / "install"), str(python), wanted, "--no-index", "--find-links", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_S)


@pytest.fixture(autouse=True)
def installed(python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of an earlier test."""
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    names = ["thing", "torch", "nvidia-thing"]
    subprocess.run([str(python), "-m", "pip", "uninstall", "--quiet", "--yes", *names], check=True, timeout=_INSTALL_S)


def packages_in(python: Path) -> str:
    command = [str(python), "-m", "pip", "list", "--format", "freeze"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_INSTALL_S).stdout


def test_file_whose_hash_is_listed_is_installed(tmp_path: Path, python: Path) -> None:
    done = install(tmp_path, python, some={"thing": make_wheel(tmp_path, "thing")})
    assert done.returncode == 0, done.stderr
    assert "thing==1" in packages_in(python)


def test_file_of_another_hash_is_refused(tmp_path: Path, python: Path) -> None:
    digest = make_wheel(tmp_path, "thing")
    make_wheel(tmp_path, "thing", "Summary: somebody else's\n")
    done = install(tmp_path, python, some={"thing": digest})
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert "thing" not in packages_in(python)


def test_package_that_is_not_listed_is_missed(tmp_path: Path, python: Path) -> None:
    make_wheel(tmp_path, "other")
    done = install(tmp_path, python, some={"thing": make_wheel(tmp_path, "thing", "Requires-Dist: other\n")})
    assert done.returncode != 0
    assert "thing 1 requires other, which is not installed" in done.stdout
    assert "other" not in packages_in(python)


@pytest.mark.parametrize(("metadata", "is_wanted"), [(NVIDIA, True), ("", False)], ids=["CUDA", "CPU"])
def test_libraries_of_cuda_come_with_the_torch_that_asks_for_them(
    tmp_path: Path, python: Path, metadata: str, is_wanted: bool
) -> None:
    torch, library = make_wheel(tmp_path, "torch", metadata), make_wheel(tmp_path, "nvidia_thing")
    done = install(tmp_path, python, "worker", worker={}, torch={"torch": torch}, cuda={"nvidia-thing": library})
    assert done.returncode == 0, done.stderr
    assert ("nvidia-thing==1" in packages_in(python)) == is_wanted


def index(folder: Path) -> str:
    """The address of an index with what is in a folder, which tells its files' hashes, as PyPI does."""
    for file in folder.glob("*.whl"):
        page = folder / "simple" / file.name.split("-")[0]
        page.mkdir(parents=True)
        file.rename(page / file.name)
        digest = hashlib.sha256((page / file.name).read_bytes()).hexdigest()
        (page / "index.html").write_text(f'<!DOCTYPE html><a href="{file.name}#sha256={digest}">{file.name}</a>')
    return (folder / "simple").as_uri()


def test_build_for_cpus_in_a_folder_goes_before_that_of_an_index(tmp_path: Path, python: Path) -> None:
    (tmp_path / "pypi").mkdir()
    hashes = [make_wheel(tmp_path / "pypi", "torch"), make_wheel(tmp_path, "torch", version="1+cpu")]
    shutil.copy(CHECKOUT / "requirements" / "install", tmp_path)
    (tmp_path / "worker.txt").write_text("")
    (tmp_path / "torch.txt").write_text(f"torch==1 {' '.join(f'--hash=sha256:{each}' for each in hashes)}\n")
    where = ["--index-url", index(tmp_path / "pypi"), "--find-links", str(tmp_path)]
    command = [str(tmp_path / "install"), str(python), "worker", *where]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_S)
    assert done.returncode == 0, done.stderr
    assert "torch==1+cpu" in packages_in(python)
