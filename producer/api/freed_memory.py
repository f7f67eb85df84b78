"""
Memory that requests have freed goes back to the kernel, or to other requests.

By itself glibc gives back what lies free at the end of a heap. Large bodies, long lists and batches leave theirs
between blocks that stay: after attacks 80 to 110 MiB were free and resident, and 26 MiB in use. See malloc_trim(3).

What it cannot give back are pieces of a page. It has eight arenas for each processor and gives each thread one of them,
so that what one thread freed another cannot have; of the threads here one runs at a time. See mallopt(3).
"""

from __future__ import annotations

import ctypes
import threading

EVERY_S = 30.0

_ARENA_MAX = -8  # malloc.h
_ARENAS = 2  # A thread that waits for the interpreter may be within one.


def share_arenas() -> bool:
    """
    Let all threads of this process that begin from now on take memory from the same arenas.

    Returns:
        False where there is no glibc, or it refuses.
    """
    library = ctypes.CDLL(None)
    return hasattr(library, "mallopt") and bool(library.mallopt(_ARENA_MAX, _ARENAS))


def give_back_again_and_again(stopping: threading.Event) -> None:
    """
    Give back what is free, every `EVERY_S`, until `stopping`; at once nothing where there is no glibc.

    It takes 40 ms where 90 MiB are free, in which a thread that allocates memory may wait; 0.2 ms where nothing is.
    """
    library = ctypes.CDLL(None)  # Its functions run without the interpreter's lock.
    if not hasattr(library, "malloc_trim"):
        return
    while not stopping.wait(EVERY_S):
        library.malloc_trim(0)
