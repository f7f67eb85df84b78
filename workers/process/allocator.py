"""
Memory that one pass on a CPU freed is there for the next one.

glibc gives freed memory back to the kernel as soon as there is enough of it, and has it cleared page by page when the
next pass asks again: up to 10,000 page faults in a pass of 32 rows, 72 to 83 ms instead of 66, from one start of the
same program to another. See mallopt(3).
"""

from __future__ import annotations

import ctypes

from PIL import Image

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # malloc.h

_MOST_INT = 2**31 - 1
_HEAP_BYTES = 64 << 20  # of a thread, at most; glibc's HEAP_MAX_SIZE
_LARGEST_IN_HEAP_BYTES = _HEAP_BYTES // 2  # The upper limit of mallopt(3).
_PICTURE_BLOCK_BYTES = 256 << 20  # 64 million pixels


def return_large_pictures() -> None:
    """
    Let Pillow have a large picture in one piece, which goes back to the kernel when it is freed.

    By itself it has pieces of 16 MiB, which glibc takes from the heap of the thread: six threads that each opened a
    picture of 49 million pixels, one after another, held 560 MiB each. A small picture is one piece of its size anyway.
    https://pillow.readthedocs.io/en/stable/reference/block_allocator.html
    """
    Image.core.set_block_size(_PICTURE_BLOCK_BYTES)  # type: ignore[attr-defined]  # documented, and not typed


def keep_freed_memory() -> bool:
    """
    Let this process keep what it freed, for itself.

    Returns:
        False where there is no glibc, or it refuses.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    settings = {
        _TRIM_THRESHOLD: _MOST_INT,
        _TOP_PAD: 2 * _HEAP_BYTES,  # Where this is less than a heap, one that nothing uses at the moment is unmapped.
        _MMAP_THRESHOLD: _LARGEST_IN_HEAP_BYTES,
    }
    return all(library.mallopt(name, value) for name, value in settings.items())
