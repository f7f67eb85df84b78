"""
A model in one file, and the pipeline whose configuration and vocabularies it goes without.

A file that has its text encoders is a source. One that has a denoiser alone, as most transformers are published, is a
component of that pipeline; so is the pipeline's own of whatever else a file lacks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from jobs.catalogue.loading import GGUF_SUFFIX
from jobs.errors import InvalidRequest
from ops.models.components import Component, Pipeline, pickled_component, read_pipeline
from ops.models.files import WithoutWeights
from ops.models.published import class_of_family, published
from ops.models.sources.base import Base, base_like, base_said
from ops.models.sources.gguf import read_gguf_header
from ops.models.sources.likeness import Header, Likeness, likeness_of, other_than_a_model
from ops.models.sources.source import LEFT_OUT, OWN_LABEL, Source, day_of, refuse, relative
from workers.loading.weights.files import file_fault
from workers.loading.weights.header import read_header

_TEXTS = ("cond_stage_model.", "conditioner.", "text_encoders.")  # before the tensors of text encoders


def file_source(file: Path, around: Path, revision: str | None, config: str | None) -> Source:
    """
    A model of one file.

    Args:
        around: The folder of the catalogue.
        revision: A label; None for the day on which the file was written.
        config: The pipeline that it is one of: a folder, or `id` or `id@revision` of the hub; None for what its tensors
            are like.

    Raises:
        InvalidRequest: No worker could load it, or it is like nothing that is known.
    """
    refuse(file_fault(file, (".safetensors", GGUF_SUFFIX)))
    header = _header_of(file)
    like = likeness_of(header, file.name)
    is_whole = any(name.startswith(_TEXTS) for name in header)
    lacking = like.lacking(header) if like else []
    if config is not None:
        base = base_said(config, around)
    elif like is None:
        raise InvalidRequest(
            "source",
            f"the tensors of {file} are like those of no model that is known here; say with --config which folder, or "
            "which model of the hub, has the configuration of its pipeline",
        )
    else:
        try:
            base = base_like(_repository(like))
        except InvalidRequest as exc:
            if is_whole and not lacking:
                return _unpinned(file, around, revision, header, like)
            raise InvalidRequest("source", _no_base(file, like, exc.reason)) from exc
    if is_whole:
        return _whole(file, around, revision, header, base, lacking)
    return _component(file, around, header, base)


def _repository(like: Likeness) -> str:
    return like.repository or str(published(like.name).entry["source"])


def _no_base(file: Path, like: Likeness, reason: str) -> str:
    return (
        f"{file} goes without what {_repository(like)} has beside it, which it is taken for one like "
        f"({reason}); say with --config which folder has that pipeline"
    )


def _header_of(file: Path) -> Header:
    try:
        header = (read_gguf_header if file.suffix == GGUF_SUFFIX else read_header)(file)
    except ValueError as exc:
        raise InvalidRequest("source", f"{exc}; copy it again") from exc
    if other := other_than_a_model(header):
        raise InvalidRequest("source", f"{file} is no model: {other}")
    return header


def _whole(file: Path, around: Path, revision: str | None, header: Header, base: Base, lacking: list[str]) -> Source:
    """With its text encoders; what it lacks is of the pipeline that it is one of."""
    lines: dict[str, Any] = {"source": relative(file, around), "config": base.config}
    lines["revision"] = revision or day_of(file)
    if lacking:
        lines["components"] = {name: base.component(name) for name in lacking}
    return Source(
        called=file.resolve().stem,
        lines=lines,
        read=lambda: _with_weights(read_pipeline(WithoutWeights(base.files), LEFT_OUT), header, is_whole=True),
        notes={"revision": OWN_LABEL, "config": base.note},
    )


def _unpinned(file: Path, around: Path, revision: str | None, header: Header, like: Likeness) -> Source:
    """Whose configuration no hub says now: workers take the newest there is."""
    note = f'no hub answered; add config = "{_repository(like)}@<commit>" to have the same one always'
    return Source(
        called=file.resolve().stem,
        lines={"source": relative(file, around), "revision": revision or day_of(file)},
        read=partial(_with_weights, _as_published(like.name), header, is_whole=True),
        notes={"revision": OWN_LABEL, "source": note},
    )


def _component(file: Path, around: Path, header: Header, base: Base) -> Source:
    """The denoiser alone."""
    index = read_pipeline(WithoutWeights(base.files), LEFT_OUT)
    if index.denoiser is None:
        raise InvalidRequest(
            "source", f"{base.said} is the pipeline of {index.class_name}, which has no such component"
        )
    name = index.denoiser.name
    if pickled := pickled_component(base.files.names(), (*LEFT_OUT, name)):
        raise InvalidRequest("config", f'{pickled} has its weights in pickles alone: docs/models.md, "Pickles"')
    components = {name: {"source": relative(file, around)}}
    return Source(
        called=file.resolve().stem,
        lines={"source": base.said, "revision": base.revision, "components": components},
        read=lambda: _with_weights(read_pipeline(base.files, LEFT_OUT), header, is_whole=False),
        notes={"revision": base.note},
    )


def _as_published(name: str) -> Pipeline:
    """A published model, as far as its configuration tells it from others."""
    model = published(name)
    index: dict[str, Any] = {"_class_name": class_of_family(model.entry["family"])}
    configs: dict[str, dict[str, Any]] = {part: {} for part in model.parameters}
    for key, value in model.told_by.items():
        part, _, rest = key.rpartition(".")
        (configs[part] if part else index)[rest] = value
    components = {part: Component(name=part, class_name="", config=config) for part, config in configs.items()}
    return Pipeline(index=index, components=components)


def _with_weights(pipeline: Pipeline, header: Header, *, is_whole: bool) -> Pipeline:
    """
    With all weights of a file as the denoiser's: which are of which component its names do not say alike.

    Args:
        is_whole: Whether it has those of the other components, too.
    """
    numbers: Counter[str] = Counter()
    for tensor in header.values():
        numbers[tensor.dtype] += tensor.numbers
    bare = {name: replace(each, numbers={}) for name, each in pipeline.components.items()}
    denoiser = replace(pipeline, components=bare).denoiser
    if denoiser is None:
        return pipeline
    others = bare if is_whole else pipeline.components
    return replace(
        pipeline,
        components={**others, denoiser.name: replace(denoiser, numbers=dict(numbers))},
        variant=None if is_whole else pipeline.variant,
    )
