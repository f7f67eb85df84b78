"""Loads pipelines of diffusers, whole or not at all. Only where one is needed: its import takes seconds."""

from __future__ import annotations

import errno
import inspect
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
import torch
import transformers
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging

from jobs.catalogue.entry import Model
from workers.engine.errors import is_out_of_memory
from workers.families.family import Family
from workers.families.parts.scheduler_names import unknown_schedulers
from workers.loading.folder import first_fault, not_loaded
from workers.loading.hub import is_path, revision_fault
from workers.loading.missing import broken_parts, missing_parts, noting_random_tensors
from workers.loading.outputs import other_output

log = structlog.get_logger()

# Bars of a second's loading.
diffusers_logging.disable_progress_bar()
transformers.logging.disable_progress_bar()

_LONGEST_REASON = 400  # characters of what a library says


class NotLoaded(Exception):
    """Why a model is not loaded, and what to do: the end of a sentence."""


def load_pipeline(entry: Model, source: str, family: Family, device: torch.device) -> Any:
    """
    A pipeline with all its weights, on a device.

    Args:
        source: A folder, or a hub id.

    Raises:
        NotLoaded: Something of it is missing or damaged, or it is none of this family.
    """
    if unknown := unknown_schedulers(entry.schedulers):
        raise NotLoaded(f"no scheduler {', '.join(unknown)} is known")
    # Nothing but safetensors: the libraries would otherwise fall back to pickles where a model has no others.
    options: dict[str, Any] = {"dtype": getattr(torch, entry.dtype), "use_safetensors": True, "variant": entry.variant}
    if not (Path(source).is_dir() or is_path(source)):
        if fault := revision_fault(entry):
            raise NotLoaded(f"{fault.found}; {fault.advice}")
        options["revision"] = entry.revision
    if left_out := not_loaded(entry):
        options |= {**dict.fromkeys(left_out), "requires_safety_checker": False}
    if Path(source).is_dir() and (fault := first_fault(Path(source), left_out, entry.variant)):
        raise NotLoaded(f"{fault.found}; {fault.advice}")
    if family.pipeline is DiffusionPipeline:
        with _library_errors():
            index = DiffusionPipeline.load_config(source, revision=options.get("revision"))
        if other := other_output(str(index.get("_class_name"))):
            raise NotLoaded(f"{other}; correct source of [models.{entry.name}] in models.toml")
    with _library_errors(), _quiet(), noting_random_tensors() as missing:
        pipeline = family.pipeline.from_pretrained(source, **options)
    if missing := [*missing, *missing_parts(pipeline)]:
        raise NotLoaded(f"{'; '.join(missing)}; download the whole model again")
    if unfit := _unfit(pipeline, entry.family, family.parts):
        raise NotLoaded(f"{unfit}; correct source or family of [models.{entry.name}] in models.toml")
    with _library_errors():
        pipeline.to(device)
    if broken := list(broken_parts(pipeline)):
        raise NotLoaded(f"{'; '.join(broken)}; get the model from somewhere else, or convert it again")
    return pipeline


def _unfit(pipeline: Any, family: str, parts: Sequence[str]) -> str | None:
    """Why an adapter of this family cannot use a pipeline."""
    absent = [name for name in parts if getattr(pipeline, name, None) is None]
    if absent:
        return f"the model has no {', '.join(absent)}, which family {family} needs"
    if "prompt" not in inspect.signature(pipeline.__call__).parameters:
        return f"{type(pipeline).__name__} takes no prompt"
    return None


@contextmanager
def _library_errors() -> Iterator[None]:
    """
    What the libraries that load raise, as a sentence.

    Of any class: they raise what json, safetensors, the allocator or an assertion of their own raised. So as little of
    ours as can be runs in here, for a bug of ours is to show its traceback.
    """
    try:
        yield
    except Exception as exc:
        reason = " ".join(str(exc).split()) or type(exc).__name__
        if len(reason) > _LONGEST_REASON:
            reason = f"{reason[:_LONGEST_REASON]} …"
        if is_out_of_memory(exc) or os.strerror(errno.ENOMEM) in str(exc):  # So mmap's refusal reads.
            advice = "serve fewer models (IMAGEMILL_WORKER_MODELS), or one that needs less, or use a larger machine"
            raise NotLoaded(f"there is too little memory ({reason}); {advice}") from exc
        raise NotLoaded(f"{reason}; correct its entry in models.toml, or download the whole model again") from exc


@contextmanager
def _quiet() -> Iterator[None]:
    """What diffusers would warn of while it loads is in the error, or does not matter."""
    before = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity(diffusers_logging.CRITICAL)
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(before)
