"""Freed memory is used again without the kernel."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ops.settings import CHECKOUT

# Takes 64 MB and frees them, as a pass does, ten times. Prints the page faults of that.
PASSES = """
import ctypes, resource, sys, threading
from workers.process.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
library = ctypes.CDLL(None)
assert library.prctl(41, 1, 0, 0, 0) == 0  # PR_SET_THP_DISABLE: with huge pages there would be few faults either way.
library.malloc.restype = ctypes.c_void_p
library.malloc.argtypes = [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]

def passes(count):
    for _ in range(count):
        blocks = [library.malloc(4 << 20) for _ in range(16)]
        for block in blocks:
            ctypes.memset(block, 1, 4 << 20)
        for block in blocks:
            library.free(block)

def run():
    passes(3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    passes(10)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

if sys.argv[2] == "first":
    run()
else:
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
"""


def page_faults(how: str, thread: str) -> int:
    ended = subprocess.run(
        [sys.executable, "-c", PASSES, how, thread], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    return int(ended.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the settings are glibc's")
@pytest.mark.parametrize("thread", ["first", "another"])
def test_memory_is_not_taken_from_the_kernel_again(thread: str) -> None:
    before, kept = page_faults("as it is", thread), page_faults("keep", thread)
    assert before > 5_000
    assert kept < before / 10


# A thread has a picture of 96 MB, and frees it. Prints how much more memory the process has then, in bytes.
PICTURE = """
import sys, threading
from pathlib import Path
from PIL import Image
from workers.process.allocator import keep_freed_memory, return_large_pictures

assert keep_freed_memory()
if sys.argv[1] == "return":
    return_large_pictures()

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

before, kept = resident(), []

def run():
    picture = Image.new("RGB", (6000, 4000), "red")
    del picture
    kept.append(resident() - before)

thread = threading.Thread(target=run)
thread.start()
thread.join()
print(kept[0])
"""


@pytest.mark.parametrize("way", ["keep", "return"])
def test_large_pictures_go_back_to_the_kernel(way: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PICTURE, way], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=60
    )
    assert (int(done.stdout) > 48 << 20) == (way == "keep")
