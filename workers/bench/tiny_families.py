"""The families of flow-matching transformers, on pipelines so small that any machine runs them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from jobs.catalogue.entry import Defaults, Limits, Model
from jobs.catalogue.families import FAMILIES
from jobs.kinds.generate import GenerateSpec
from workers.bench.passes import pass_seconds
from workers.bench.tiny_pipelines import FLOW_PIPELINES
from workers.engine.streams import device_clock
from workers.families.family import PictureFamily
from workers.families.parts.embeddings import EmbeddingCache
from workers.families.parts.scheduler_names import OWN
from workers.families.registry import family_of
from workers.process.allocator import keep_freed_memory

NAMES = tuple(FLOW_PIPELINES)

_UNGUIDED = ("flux-schnell", "flux2-klein-distilled")  # Of them the entry has to say it, not the family.
_CACHE_BYTES = 1 << 20


def entry_of(name: str, **changes: Any) -> Model:
    """What a catalogue would say of one of `NAMES`, or of another model, with its `family`."""
    family = changes.get("family") or FLOW_PIPELINES[name][0]
    multiple = math.lcm(16, FAMILIES[family].side_multiple)
    fields: dict[str, Any] = {
        "name": name,
        "source": "random weights",
        "revision": "1",
        "dtype": "float32",
        "family": family,
        "guidance": "none" if name in _UNGUIDED else None,
        "defaults": Defaults(width=32, height=32, num_inference_steps=4, guidance_scale=3.0, scheduler=OWN),
        "limits": Limits(min_side=16, max_side=512, side_multiple=multiple, max_steps=100, max_n=8),
        "schedulers": (OWN,),
    }
    return Model.model_validate(fields | changes)


def open_family(name: str) -> PictureFamily[Any]:
    """The adapter of one of `NAMES`, as a worker has it."""
    entry = entry_of(name)
    return family_of(entry).adapt(entry, FLOW_PIPELINES[name][1](), EmbeddingCache(_CACHE_BYTES))


def measured_passes(family: PictureFamily[Any], spec: GenerateSpec, counts: Sequence[int]) -> dict[int, float]:
    """T(B) on this machine's processor: seconds by rows, for each of `counts` such jobs together."""
    run = family.begin(spec, family.encode([spec])[0])
    return pass_seconds(family, run, counts, device_clock(torch.device("cpu")))


def compute_as_worker(threads: int) -> int:
    """Set this process up as a worker on a CPU; 0 threads leaves them to torch. Returns how many torch has."""
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    return torch.get_num_threads()
