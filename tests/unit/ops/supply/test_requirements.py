"""What is installed is listed to the last byte, and is what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ops.settings import CHECKOUT
from ops.supply.requirements import (
    ALL,
    CUDA,
    EXTRAS,
    FOLDER,
    QUANTIZED,
    STORE,
    TORCH,
    hashes_of,
    parse,
    version_of,
    with_hashes,
)

NAMES = (ALL, CUDA, TORCH, STORE[0], QUANTIZED, *EXTRAS)
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]
IN_ALL = tuple(name for name in PROJECT["optional-dependencies"] if name != QUANTIZED)
A, B = "a" * 64, "b" * 64


def read(name: str) -> dict[str, str]:
    return parse((FOLDER / f"{name}.txt").read_text("utf-8"))


def asked_for(*extras: str) -> list[Requirement]:
    optional = PROJECT["optional-dependencies"]
    return [
        Requirement(each) for each in (*PROJECT["dependencies"], *(each for name in extras for each in optional[name]))
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_package_has_one_version_and_hashes(name: str) -> None:
    text = (FOLDER / f"{name}.txt").read_text("utf-8")
    first = r"[a-z0-9-]+==[\w.]+( ; [^\\]+)? \\\n"
    assert re.fullmatch(rf"# .*\n({first}(    --hash=sha256:[0-9a-f]{{64}}( \\)?\n)+)+", text)
    assert all(hashes_of(lines) for lines in read(name).values())


@pytest.mark.parametrize("name", [*EXTRAS, STORE[0]])
def test_each_file_has_the_packages_of_the_whole(name: str) -> None:
    assert read(name).items() <= (read(ALL) | read(CUDA)).items()


@pytest.mark.parametrize(("name", "extras"), [*EXTRAS.items(), (ALL, IN_ALL), (QUANTIZED, (QUANTIZED,))])
def test_each_file_has_what_pyproject_asks_for(name: str, extras: tuple[str, ...]) -> None:
    packages = read(name) | read(TORCH) | (read("worker") if name == QUANTIZED else {})
    for wanted in asked_for(*extras):
        lines = packages.get(canonicalize_name(wanted.name))
        assert lines, f"{wanted}: run `make lock`"
        assert wanted.specifier.contains(version_of(lines)), f"{wanted} is not {version_of(lines)}: run `make lock`"


def test_torch_and_libraries_of_cuda_are_apart() -> None:
    assert read(TORCH).keys() == {"torch"}
    assert {"nvidia-cublas", "triton"} <= read(CUDA).keys()
    assert not (read(CUDA) | read(TORCH)).keys() & (read(ALL).keys() | read("worker").keys())


def test_torch_has_more_builds_than_one_index() -> None:
    """Of Python 3.11 alone PyPI has four; the build for CPUs alone, which is another index's, is beside them."""
    on_cpu_alone = "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b"
    torch = read(TORCH)["torch"]
    assert version_of(torch) != "2.13.0" or on_cpu_alone in hashes_of(torch)
    assert len(hashes_of(torch)) > 4


def test_what_quantizes_stands_beside_a_worker_and_comes_with_nothing_else() -> None:
    quantized = read(QUANTIZED)
    assert {"bitsandbytes", "gguf", "torchao"} <= quantized.keys()
    assert not quantized.keys() & (read("worker") | read(TORCH) | read(CUDA)).keys()
    assert not {"bitsandbytes", "torchao"} & read(ALL).keys()


def test_who_only_submits_gets_no_torch() -> None:
    assert not {"torch", "fastapi"} & read("producer").keys()


def test_more_hashes_are_added_once() -> None:
    lines = f"a-b==1.0 ; sys_platform == 'linux' \\\n    --hash=sha256:{B}\n"
    more = with_hashes(lines, [A, B])
    assert hashes_of(more) == [A, B]
    assert more == f"a-b==1.0 ; sys_platform == 'linux' \\\n    --hash=sha256:{A} \\\n    --hash=sha256:{B}\n"
    assert parse(f"# why\n{more}c==2 \\\n    --hash=sha256:{A}\n")["a-b"] == more


def test_images_are_built_of_these_files() -> None:
    for file in (CHECKOUT / "ops" / "images").glob("*.Dockerfile"):
        text = Path(file).read_text("utf-8")
        assert "/wheels/install" in text
        assert "pip install" not in text
