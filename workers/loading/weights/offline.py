"""Models of a hub where HF_HUB_OFFLINE keeps this machine from asking it: what was fetched, and what is missing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from workers.loading.errors import Fault
from workers.loading.weights.folder import INDEX, configuration_folder_fault, first_fault

FETCH = "run `python -m workers.process.fetch` where there is a way to the hub, with the same HF_HOME"


def missing_files(repository: str, commit: str, leave_out: Collection[str], variant: str | None) -> Fault | None:
    """What is missing of a model that nobody may fetch now; None where nothing is, or the hub may be asked."""
    return _missing(repository, commit, lambda folder: first_fault(folder, leave_out, variant))


def missing_configuration(repository: str, commit: str | None) -> Fault | None:
    """Likewise of the configuration and the vocabularies of a pipeline; of its newest commit known here for None."""
    return _missing(repository, commit, configuration_folder_fault)


def _missing(repository: str, commit: str | None, judge: Callable[[Path], Fault | None]) -> Fault | None:
    from huggingface_hub import constants, try_to_load_from_cache  # Late: folders need neither.

    if not constants.HF_HUB_OFFLINE:
        return None
    index = try_to_load_from_cache(repository, INDEX, cache_dir=constants.HF_HUB_CACHE, revision=commit)
    if not isinstance(index, str):
        at = f" at {commit}" if commit else ""
        found = f"{repository}{at} is not here: {constants.HF_HUB_CACHE} has neither its {INDEX} nor what that names"
        return Fault(found=f"{found}, and HF_HUB_OFFLINE is set", advice=FETCH)
    fault = judge(Path(index).parent)
    return None if fault is None else replace(fault, advice=FETCH)
