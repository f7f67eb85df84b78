"""
Whether a model's folder is complete, as far as its files show. Nothing is loaded, and torch is not needed.

Worth asking first: for a pointer of git-lfs, a file that is cut short or a vocabulary that is missing, the libraries
that load give no reason that helps, or none at all.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from jobs.catalogue.entry import Model
from workers.loading.errors import Fault
from workers.loading.weights.files import COPY_AGAIN, unread_fault
from workers.loading.weights.part import files_of, part_faults, unreadable, variants_of

INDEX = "model_index.json"

_WHOLE = "put a whole diffusers folder there, as `save_pretrained` writes it"


def not_loaded(model: Model) -> frozenset[str]:
    """Components that a worker leaves out, whatever the folder has."""
    is_on = model.family != "stable-diffusion" if model.safety_checker is None else model.safety_checker
    return frozenset(() if is_on else {"safety_checker"})


def first_fault(folder: Path, leave_out: Collection[str] = (), variant: str | None = None) -> Fault | None:
    """
    The first thing that keeps a pipeline from being loaded from a folder; None where the files show none.

    Args:
        leave_out: Components that are not loaded.
        variant: Of the weights, such as "fp16"; a component that has none of it is loaded from its others.
    """
    try:
        return next(_faults(folder, leave_out, variant), None)
    except OSError as exc:
        return unread_fault(folder, exc)


def configuration_folder_fault(folder: Path) -> Fault | None:
    """Likewise, of a folder whose configuration and vocabularies are those of a model in one file."""
    try:
        return next(_faults(folder, {"safety_checker"}, None, has_weights=False), None)
    except OSError as exc:
        return unread_fault(folder, exc)


def _faults(
    folder: Path, leave_out: Collection[str], variant: str | None, *, has_weights: bool = True
) -> Iterator[Fault]:
    if not (folder / INDEX).is_file():
        yield Fault(found=f"{folder} has no {INDEX}", advice=_WHOLE)
        return
    if fault := unreadable(folder / INDEX):
        yield fault
        return
    index = json.loads((folder / INDEX).read_bytes())
    if not isinstance(index, dict):
        yield Fault(found=f"{folder / INDEX} holds no JSON object", advice=COPY_AGAIN)
        return
    parts = {name: str(named[1]) for name, named in index.items() if _is_component(name, named)}
    loaded = [name for name in parts if name not in leave_out]
    for name in loaded:
        if (folder / name).is_dir():
            yield from part_faults(folder / name, parts[name], variant, has_weights=has_weights)
        elif not any(path.name != INDEX for path in folder.glob("*config.json")):
            # Else diffusers looks for its files in the folder itself.
            yield Fault(found=f"{INDEX} names {name}, and there is no folder {folder / name}", advice=COPY_AGAIN)
    folders = [folder / name for name in loaded if (folder / name).is_dir()]
    if variant and not any(variant in variants_of(files_of(part)) for part in folders):
        found = f"no component in {folder} has weights of variant {variant}"
        yield Fault(found=found, advice="leave `variant` out of its entry in models.toml, or copy those files, too")


def _is_component(name: str, named: Any) -> bool:
    """`[library, class]`; both are null for one that the pipeline goes without."""
    is_pair = isinstance(named, list) and len(named) == 2 and all(isinstance(each, str) for each in named)
    return is_pair and not name.startswith("_")
