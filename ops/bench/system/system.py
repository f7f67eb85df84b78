"""A whole system for the length of a measurement: servers and one worker, on free ports."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from jobs.process.settings import load_settings
from ops.programs import Flower
from ops.settings import load_stack_settings
from ops.stack import Stack, local_stack, storage_at
from producer import Client


@contextmanager
def system_for_a_while(console: Console, variables: Mapping[str, str] | None = None) -> Iterator[Client]:
    """
    A client of a system of its own, which stops at the end.

    Args:
        variables: `IMAGEMILL_*` variables for its processes; the client has the same catalogue.

    Raises:
        StackError: A process did not start.
    """
    with TemporaryDirectory(prefix="imagemill-bench-") as data:
        whole = local_stack(
            load_stack_settings(redis_port=0, s3_port=0, flower_port=0, api_port=None), Path(data), variables
        )
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # So that nothing is left behind.
        stack = Stack(whole.servers, [each for each in whole.programs if not isinstance(each, Flower)], whole.env)
        try:
            with console.status("starting a system to measure …"):
                stack.start(lambda _process, _line: None, lambda _process, _took_s: None)
            yield _client(stack)
        finally:
            stack.stop()
            signal.signal(signal.SIGTERM, before)


def _client(stack: Stack) -> Client:
    storage = storage_at(stack.env["IMAGEMILL_S3_ENDPOINT_URL"])
    models_file = Path(stack.env["IMAGEMILL_MODELS_FILE"])
    return Client(load_settings(redis_url=stack.env["IMAGEMILL_REDIS_URL"], models_file=models_file), storage)
