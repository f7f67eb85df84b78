"""
Memory that requests have freed goes back to the kernel.

By itself glibc gives back what lies free at the end of a heap. Large bodies, long lists and batches leave theirs
between blocks that stay: after attacks 80 to 110 MiB were free and resident, and 26 MiB in use. See malloc_trim(3).
"""

from __future__ import annotations

import ctypes
import threading

EVERY_S = 30.0


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
