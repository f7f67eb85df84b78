"""Freed memory goes back to the kernel, also from between blocks that stay; threads have it from the same arenas."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ops.settings import CHECKOUT

# Takes 100 MB in blocks and frees all but every hundredth. Prints how much of it is resident then, and when half has
# gone, or at the deadline.
BLOCKS = """
import threading, time
from pathlib import Path
from producer.api import freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

before = resident()
blocks = [b"x" * 10_000 + b"%d" % number for number in range(10_000)]
kept = blocks[::100]
del blocks
print(resident() - before)
freed_memory.EVERY_S = 0.01
stopping = threading.Event()
thread = threading.Thread(target=freed_memory.give_back_again_and_again, args=(stopping,))
thread.start()
end = time.monotonic() + 60
while resident() - before > 50_000_000 and time.monotonic() < end:
    time.sleep(0.01)
stopping.set()
thread.join()
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="malloc_trim is glibc's")
def test_memory_between_blocks_that_stay_goes_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKS], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=120
    )
    kept, given_back = map(int, done.stdout.split())
    assert kept > 50_000_000 >= given_back


# Eight threads that each take memory while all others do. Prints of how many arenas that was.
THREADS = """
import ctypes, sys, threading
from producer.api.freed_memory import share_arenas

libc = ctypes.CDLL(None)
libc.open_memstream.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
if sys.argv[1] == "share":
    assert share_arenas()
all_have = threading.Barrier(9)

def take():
    block = b"x" * 10_000
    all_have.wait()
    all_have.wait()

threads = [threading.Thread(target=take) for _ in range(8)]
for thread in threads:
    thread.start()
all_have.wait()
text, size = ctypes.c_char_p(), ctypes.c_size_t()
stream = libc.open_memstream(ctypes.byref(text), ctypes.byref(size))
libc.malloc_info(0, stream)
libc.fclose(stream)
all_have.wait()
for thread in threads:
    thread.join()
print(text.value.count(b"<heap nr="))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="arenas are glibc's")
@pytest.mark.parametrize(("how", "most"), [("share", range(1, 3)), ("as it is", range(3, 10))])
def test_threads_take_memory_from_the_same_arenas(how: str, most: range) -> None:
    done = subprocess.run(
        [sys.executable, "-c", THREADS, how], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=120
    )
    assert int(done.stdout) in most
