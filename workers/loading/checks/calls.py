"""What a pipeline of diffusers takes and does by itself, read from its class. Nothing is loaded but the class."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from typing import Any

_OWN_SIZE = re.compile(r"self\.default_sample_size = (?:\(.*?\belse )?(\d+)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCall:
    """
    The `__call__` of a pipeline.

    Attributes:
        takes: Names of its parameters.
        defaults: What it does by itself, of those that have one other than None.
        latent_side: Of its own size, where it has one: sides in latents.
        makes: What it makes that is no picture, as a sentence; None where it makes pictures.
    """

    takes: frozenset[str]
    defaults: dict[str, Any] = field(default_factory=dict)
    latent_side: int | None = None
    makes: str | None = None


def own_call(class_name: str) -> OwnCall | None:
    """That of a class of diffusers; None where there is none of this name, or no diffusers here."""
    try:
        import diffusers  # Late: most models are known without it.

        from workers.loading.checks.outputs import other_output
    except ImportError:
        return None
    kind = getattr(diffusers, class_name, None)
    if not inspect.isclass(kind):
        return None
    parameters = inspect.signature(kind.__call__).parameters
    has_default = {
        name: each.default for name, each in parameters.items() if each.default is not inspect.Parameter.empty
    }
    side = _OWN_SIZE.search(inspect.getsource(kind.__init__))
    return OwnCall(
        takes=frozenset(parameters),
        defaults={name: value for name, value in has_default.items() if value is not None},
        latent_side=int(side[1]) if side else None,
        makes=other_output(class_name),
    )
