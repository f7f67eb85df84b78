"""What diffusers, transformers and others raise while a model is loaded, as the end of a sentence."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from workers.engine.errors import is_out_of_memory
from workers.loading.errors import NotLoaded

_LONGEST_REASON = 400  # characters of what a library says


@contextmanager
def library_errors(
    advice: str = "correct its entry in models.toml, or download the whole model again",
) -> Iterator[None]:
    """
    What the libraries that load raise, as a sentence.

    Of any class: they raise what json, safetensors, the allocator or an assertion of their own raised. So as little of
    ours as can be runs in here, for a bug of ours is to show its traceback.

    Raises:
        NotLoaded: In place of it.
    """
    try:
        yield
    except NotLoaded:
        raise
    except Exception as exc:
        reason = " ".join(str(exc).split()) or type(exc).__name__
        if len(reason) > _LONGEST_REASON:
            reason = f"{reason[:_LONGEST_REASON]} …"
        if is_out_of_memory(exc) or os.strerror(errno.ENOMEM) in str(exc):  # So mmap's refusal reads.
            more = "serve fewer models (IMAGEMILL_WORKER_MODELS), or one that needs less, or use a larger machine"
            raise NotLoaded(f"there is too little memory ({reason}); {more}") from exc
        raise NotLoaded(f"{reason}; {advice}") from exc
