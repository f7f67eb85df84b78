"""Text encoders that several entries name alike: they lie in memory once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any
from weakref import WeakValueDictionary

import torch

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from workers.loading.weights.component_sources import component_place

_SHARED = "text_encoder"  # and those with a number; what else a pipeline has may be tiled, compiled or patched for one

_lock = threading.Lock()  # guards what follows
_known: WeakValueDictionary[Hashable, torch.nn.Module] = WeakValueDictionary()


def shared(catalogue: Catalogue, entry: Model, name: str, kind: type[Any], load: Callable[[], Any]) -> Any:
    """
    A component of an entry; the same object for entries that say the same of it, for as long as any of them has it.

    Args:
        name: Of one that the entry names by itself.
        kind: Its class.
        load: Loads it.
    """
    is_own = entry.textual_inversions or entry.offload  # Words are added to it, or hooks.
    if is_own or not name.startswith(_SHARED) or not issubclass(kind, torch.nn.Module):
        return load()
    said = entry.components[name]
    revision = entry.revision if said.source is None else said.revision
    place = (component_place(catalogue, entry, name), revision, said.variant or entry.variant)
    key = (*place, kind, said.dtype or entry.dtype, said.quantization, entry.text_device)
    with _lock:
        found = _known.get(key)
    if found is None:
        found = load()
        with _lock:
            _known[key] = found
    return found
