"""What computes a transformer's attention: torch by itself, or a package that the entry of a model names."""

from __future__ import annotations

from typing import Any

from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry

from jobs.catalogue.entry import Model
from workers.loading.errors import NotLoaded

_OF_HUB = "_hub"  # the end of those whose code is fetched from a hub


def set_attention(pipeline: Any, entry: Model) -> None:
    """
    Have the attention of a pipeline's transformer computed as its entry says; that of other models stays as it is.

    Raises:
        NotLoaded: There is no such way, or it would have no effect.
    """
    if entry.attention is None:
        return
    known = [each.value for each in AttentionBackendName if not each.value.endswith(_OF_HUB)]
    if entry.attention not in known:
        raise NotLoaded(
            f"attention: there is no {entry.attention!r} that runs no code of a hub; there are {', '.join(known)}"
        )
    transformer: Any = getattr(pipeline, "transformer", None)
    processors = [getattr(each, "processor", None) for each in transformer.modules()] if transformer else []
    if not any(hasattr(each, "_attention_backend") for each in processors):
        raise NotLoaded("attention: nothing in its pipeline takes one; leave it out of its entry in models.toml")
    before, _ = _AttentionBackendRegistry.get_active_backend()
    try:
        transformer.set_attention_backend(entry.attention)
    finally:  # diffusers sets it for all models of the process, too.
        _AttentionBackendRegistry.set_active_backend(before)
