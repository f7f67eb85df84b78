"""`./imagemill demo`: start the stack on free ports, make one picture, edit it, stop everything."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from jobs.kinds.registry import parse_request
from jobs.process.private import private_files
from ops.interrupts import Interrupts
from ops.process import Process, wait_until
from ops.settings import load_stack_settings
from ops.stack import Stack, local_stack, make_folder
from producer.cli.output.terminal import Terminal
from workers.builtin.scenes import COLOURS

PICTURE, EDITED = "demo.png", "demo-edited.png"
_GRACE_S = 2.0
_WATCH_INTERVAL_S = 0.05


def demo(prompt: str, edit: str | None = None, stack: Stack | None = None) -> None:
    """
    Make a picture of a prompt with a stack of its own, then edit it; saved as `demo.png` and `demo-edited.png` where
    the user stands.

    Args:
        prompt: What to draw.
        edit: What to make of the picture; if None, the same in another colour, where the prompt names one.
        stack: The processes to run; the local stack on free ports if None.

    Raises:
        InvalidRequest: A prompt is empty or too long; nothing was started.
        StackError: A process did not start, ended by itself, or made no picture; everything is stopped by then.
        KeyboardInterrupt: Somebody asked to stop; likewise.
    """
    edit = in_another_colour(prompt) if edit is None else edit
    for each in (prompt, edit):
        if each is not None:
            parse_request({"prompt": each})
    console = Terminal()
    started = time.monotonic()
    ports = {"redis_port": 0, "s3_port": 0, "flower_port": 0, "api_port": None, "worker_metrics_port": None}
    settings = load_stack_settings(**ports)
    home = settings.folder / "demo"
    with private_files() as umask, Interrupts() as interrupts, _folder_in(home) as data:
        stack = stack or local_stack(settings, Path(data))
        with ExitStack() as cleanup:
            logs = {each.name: cleanup.enter_context(_open_log(home / "logs", each)) for each in stack.processes}
            cleanup.callback(_stop, stack, console, interrupts)
            _start(stack, logs, console, interrupts)
            commands = [["submit", "--wait", "--out", PICTURE, "--", prompt]]
            commands += [["edit", "--wait", "--out", EDITED, "--", PICTURE, edit]] if edit is not None else []
            for command in commands:
                if not interrupts.is_stopping():
                    _make_picture(command, stack, umask, console, interrupts)
    if interrupts.is_stopping():
        raise KeyboardInterrupt
    took_s = time.monotonic() - started
    console.print(
        f"Done in {took_s:.1f} s. All processes have stopped, and the link with them; `make up` keeps them running."
    )


def in_another_colour(prompt: str) -> str | None:
    """The prompt with its first colour replaced; None where it names none."""
    words = prompt.split(" ")
    at = next((at for at, word in enumerate(words) if word in COLOURS), None)
    if at is None:
        return None
    other = next(colour for colour in ("yellow", "green", "magenta") if colour not in words)
    return " ".join([*words[:at], other, *words[at + 1 :]])


def _start(stack: Stack, logs: dict[str, TextIO], console: Console, interrupts: Interrupts) -> None:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task("starting " + ", ".join(process.name for process in stack.processes) + " …")
        stack.start(
            lambda process, line: _log(logs[process.name], line),
            lambda process, took_s: progress.console.print(
                f"[green]ready[/] {process.name:<8}{took_s:5.1f} s", markup=True
            ),
            interrupts.is_stopping,
        )


def _stop(stack: Stack, console: Console, interrupts: Interrupts) -> None:
    with console.status("stopping …"):
        stack.stop(interrupts.is_stopping)  # Who interrupts a demo does not wait for its picture.


@contextmanager
def _folder_in(home: Path) -> Iterator[str]:
    make_folder(home)
    with TemporaryDirectory(prefix="run-", dir=home) as folder:
        yield folder


def _make_picture(typed: list[str], stack: Stack, umask: int, console: Console, interrupts: Interrupts) -> None:
    """
    Submit a job and see it through, by the command that everybody types; it has the terminal meanwhile.

    Args:
        typed: The command, behind `./imagemill`.
        umask: The user's: the picture lies where the user stands, with the user's other files.
    """
    child = subprocess.Popen([sys.executable, "-m", "ops.cli", *typed], env=dict(stack.env), umask=umask)
    try:
        while child.poll() is None and not interrupts.is_stopping():
            stack.raise_if_one_ended()
            time.sleep(_WATCH_INTERVAL_S)
    finally:
        _end(child, console)
    if child.returncode != 0 and not interrupts.is_stopping():
        raise stack.worker.failure("made no picture")


def _end(child: subprocess.Popen[bytes], console: Console) -> None:
    # On Ctrl-C the terminal sent it the signal as well, so it gets a moment first.
    for insist in (child.terminate, child.kill):
        if wait_until(lambda: child.poll() is not None, _GRACE_S):
            break
        insist()
    child.wait()
    console.show_cursor()  # A progress bar that was cut short keeps it.


def _open_log(folder: Path, process: Process) -> TextIO:
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / f"{process.name}.log").open("w", encoding="utf-8")


def _log(log: TextIO, line: str) -> None:
    log.write(f"{line}\n")
    log.flush()
