"""Loading happens in a thread of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from ops.settings import CHECKOUT
from tests.unit.workers.adapters import QUIET, make_adapter, make_engine
from workers.process.loader import in_a_thread
from workers.process.warming import warm_up

LOADS_FOR_EVER = """
import threading
from workers.process.loader import in_a_thread
print("loading", flush=True)
in_a_thread(threading.Event().wait)
"""


def test_thread_is_gone_when_it_has_loaded() -> None:
    before = threading.active_count()
    loader = in_a_thread(threading.current_thread)
    assert loader is not threading.current_thread()
    assert not loader.is_alive()
    assert threading.active_count() == before


def test_what_loading_raises_is_raised() -> None:
    error = ValueError("no such model")

    def load() -> None:
        raise error

    with pytest.raises(ValueError) as raised:
        in_a_thread(load)
    assert raised.value is error


def test_ctrl_c_ends_a_process_that_loads() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LOADS_FOR_EVER], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "KeyboardInterrupt" in errors
    assert process.returncode == -signal.SIGINT


@pytest.mark.filterwarnings(QUIET)
@pytest.mark.parametrize("name", ["stable-diffusion", "inpainting"])  # The second does nothing but edit.
def test_model_is_warmed_up_with_what_it_does(name: str) -> None:
    adapter = make_adapter(name)
    engine = make_engine(adapter)
    engine.start()
    try:
        assert warm_up(engine, adapter) >= 1
    finally:
        engine.stop()
