"""Freed memory goes back to the kernel, also from between blocks that stay."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ops.settings import CHECKOUT

# Takes 100 MB in blocks and frees all but every hundredth. Prints how much of it is resident when half has gone, or at
# the deadline.
BLOCKS = """
import sys, threading, time
from pathlib import Path
from producer.api import freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

before = resident()
blocks = [b"x" * 10_000 + b"%d" % number for number in range(10_000)]
kept = blocks[::100]
del blocks
freed_memory.EVERY_S = 0.01
stopping = threading.Event()
thread = threading.Thread(target=freed_memory.give_back_again_and_again, args=(stopping,))
if sys.argv[1] == "give back":
    thread.start()
    end = time.monotonic() + 60
    while resident() - before > 50_000_000 and time.monotonic() < end:
        time.sleep(0.01)
    stopping.set()
    thread.join()
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="malloc_trim is glibc's")
@pytest.mark.parametrize("way", ["keep", "give back"])
def test_memory_between_blocks_that_stay_goes_back(way: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKS, way], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=120
    )
    assert (int(done.stdout) > 50_000_000) == (way == "keep")
