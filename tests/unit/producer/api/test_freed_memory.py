"""Freed memory goes back to the kernel, also from between blocks that stay."""

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
