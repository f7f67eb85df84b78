"""
`./imagemill up`: the stack of one machine in the foreground, its logs with a prefix each, until Ctrl-C.

honcho prints the lines. Its manager does not run the processes: it sends SIGTERM to all groups at once and SIGKILL five
seconds later, so a worker that finishes a picture would find its Redis and S3 gone.
"""

from __future__ import annotations

import datetime
import shlex
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock

from honcho.colour import get_colours
from honcho.printer import Message, Printer

from jobs.process.private import private_files
from jobs.process.visible import visible
from ops.interrupts import Interrupts
from ops.process import LOOPBACK, Process
from ops.programs import Api, Flower, Worker
from ops.servers import RedisServer, S3Server
from ops.settings import CHECKOUT, StackSettings, load_stack_settings
from ops.stack import BUCKET, Stack, addresses, hold, local_stack

_EXAMPLE = "a large red circle on a blue background"
_MODELS_FILE = str(CHECKOUT / "models.toml")
_WATCH_INTERVAL_S = 0.2


class Output:
    """What the terminal shows: every process' lines under its own colour, one line at a time."""

    def __init__(self, names: list[str]) -> None:
        self._printer = Printer(sys.stdout, width=max(len(name) for name in names))
        self._colours = dict(zip(names, get_colours(), strict=False))
        self._lock = Lock()

    def line(self, process: Process, text: str) -> None:
        """A line that a process printed; an empty one says nothing under a prefix."""
        if text:
            self._write(process.name, text, self._colours.get(process.name))

    def say(self, text: str) -> None:
        """A line of our own. A terminal that was closed is no reason not to stop in order."""
        with suppress(OSError):
            self._write("up", text, None)

    def block(self, text: str) -> None:
        """Lines without a prefix, to be read and copied."""
        with self._lock:
            sys.stdout.write(f"\n{text}\n\n")
            sys.stdout.flush()

    def _write(self, name: str, text: str, colour: str | None) -> None:
        with self._lock:
            self._printer.write(Message("line", visible(text), datetime.datetime.now(), name, colour))


def up(stack: Stack | None = None) -> None:
    """
    Run the stack until Ctrl-C or SIGTERM, and leave no process behind.

    Args:
        stack: The processes to run; the local stack of the settings if None.

    Raises:
        StackError: A process did not start, or ended by itself; everything is stopped by then.
        InvalidConfiguration: A setting is wrong.
    """
    settings = load_stack_settings()
    with private_files(), Interrupts() as interrupts, hold(settings.folder):
        stack = stack or local_stack(settings, settings.folder / "data")
        output = Output([process.name for process in stack.processes] + ["up"])
        try:
            output.say("starting " + ", ".join(process.name for process in stack.processes))
            stack.start(
                output.line, lambda process, took_s: _say_ready(output, process, took_s), interrupts.is_stopping
            )
            if not interrupts.is_stopping():
                output.block(welcome(stack, settings))
            while not interrupts.is_stopping():
                stack.raise_if_one_ended()
                time.sleep(_WATCH_INTERVAL_S)
        finally:
            output.say("stopping: running jobs may finish first (press Ctrl-C again to stop at once)")
            stack.stop(interrupts.is_hurried)
            output.say("all processes have stopped")


def welcome(stack: Stack, settings: StackSettings) -> str:
    """What to open and what to type, once everything answers."""
    lines = ["Imagemill is running.", ""]
    for addresses_of in (_addresses_of, _metrics_of):
        for process in reversed(stack.processes):
            lines += [f"  {what:<42}{address}" for what, address in addresses_of(process)]
    lines += [
        "",
        "In another terminal:",
        f'  {_variables(stack)}./imagemill submit "{_EXAMPLE}" --out circle.png',
        f"  {_variables(stack)}./imagemill worker",
        "",
        f"Ctrl-C stops everything. The data stays in {_shown(settings.folder / 'data')}.",
    ]
    return "\n".join(lines)


def _say_ready(output: Output, process: Process, took_s: float) -> None:
    output.say(f"{process.name} is ready ({took_s:.1f} s)")


def _addresses_of(process: Process) -> list[tuple[str, str]]:
    match process:
        case Flower():
            user, _, password = (process.login or "").partition(":")
            who = f"  (user {user}, password {password})" if user else ""
            return [("Flower: workers, queues and jobs", f"{process.url}{who}")]
        case Api():
            return [("HTTP API: documentation, try it here", f"{process.url}/docs")]
        case S3Server():
            keys = f"bucket {BUCKET}, key {process.access_key_id}, secret {process.secret_access_key}"
            return [("S3 store", f"{process.endpoint}  ({keys})")]
        case RedisServer():
            return [("Redis", process.url)]
    return []


def _metrics_of(process: Process) -> list[tuple[str, str]]:
    port = process.env.get("IMAGEMILL_METRICS_PORT", "off")
    match process:
        case Api() | Worker() if port != "off":
            count = process.processes if isinstance(process, Worker) else 1
            ports = range(int(port), int(port) + count)
            shown = ", ".join(f"http://{LOOPBACK}:{each}/metrics" for each in ports)
            return [(f"Metrics of the {process.name}, for Prometheus", shown)]
    return []


def _variables(stack: Stack) -> str:
    """Assignments to type in front of a command, for what differs from the defaults."""
    by_default = _addresses_by_default()
    different = {name: stack.env[name] for name, value in by_default.items() if stack.env.get(name, value) != value}
    different.pop("IMAGEMILL_RESULT_BACKEND_URL", None)  # The same Redis, which is the default.
    models_file = stack.env.get("IMAGEMILL_MODELS_FILE", _MODELS_FILE)
    different |= {"IMAGEMILL_MODELS_FILE": models_file} if models_file != _MODELS_FILE else {}
    return "".join(f"{name}={shlex.quote(value)} " for name, value in different.items())


def _addresses_by_default() -> Mapping[str, str]:
    fields = StackSettings.model_fields
    nowhere = Path()
    return addresses(RedisServer(nowhere, fields["redis_port"].default), S3Server(nowhere, fields["s3_port"].default))


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
