"""The programs of the local stack, which use its servers: Flower, the API, and any other program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

from jobs.process.kubernetes import is_service_variable
from ops.process import LOOPBACK, Process, http_status
from ops.settings import CHECKOUT


class Program(Process):
    """
    A process of ours that uses the servers; `answers` says whether it does.

    It runs in the checkout, because Celery imports from the working directory first, whatever its options say.
    """

    grace_s = 30.0

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], answers: Callable[[], bool]) -> None:
        super().__init__(name, env=env, cwd=CHECKOUT)
        self._command = list(command)
        self._answers = answers

    def command(self) -> list[str]:
        """As given."""
        return self._command

    def is_ready(self) -> bool:
        """As given."""
        return self._answers()


class Flower(Process):
    """
    Flower, which shows the workers, the queues and each job. It keeps what it saw in a file.

    It asks for what `FLOWER_BASIC_AUTH` holds. Without that its buttons do nothing: it closes the interface that they
    use, and if that were open to all, any page in the same browser could press them.

    Attributes:
        login: User and password, joined by a colon; None if everybody may look.
    """

    port_setting = "IMAGEMILL_STACK_FLOWER_PORT"

    def __init__(self, file: Path, port: int, env: Mapping[str, str]) -> None:
        # Flower reads FLOWER_PORT, too, and dies of Kubernetes' (tcp://…), of a service that is called `flower`.
        own = {name: value for name, value in env.items() if not is_service_variable(name, value)}
        super().__init__("flower", port=port, env=own, cwd=CHECKOUT)
        self.file = file
        self.login = env.get("FLOWER_BASIC_AUTH", "").split(",")[0] or None

    @property
    def url(self) -> str:
        """For a browser."""
        return f"http://{LOOPBACK}:{self.port}"

    def command(self) -> list[str]:
        """Quiet: its banner lists every task, and each inspection that no worker answers is a warning."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        listen = [f"--address={LOOPBACK}", f"--port={self.port}"]
        keep = ["--persistent=True", f"--db={self.file}"]
        show = [f"--conf={CHECKOUT / 'ops' / 'flower_config.py'}", "--logging=error"]
        return [sys.executable, "-m", "celery", "-q", "-A", "jobs.broker.app:app", "flower", *listen, *keep, *show]

    def is_ready(self) -> bool:
        """Whether its health page answers."""
        return http_status(self.port or 0, "/healthcheck") == HTTPStatus.OK


class Api(Process):
    """The HTTP API. It needs Redis alone; the others may come and go."""

    grace_s = 30.0
    port_setting = "IMAGEMILL_STACK_API_PORT"

    def __init__(self, port: int, env: Mapping[str, str]) -> None:
        super().__init__("api", port=port, env=env, cwd=CHECKOUT)

    @property
    def url(self) -> str:
        """For clients on this machine."""
        return f"http://{LOOPBACK}:{self.port}"

    def command(self) -> list[str]:
        """On loopback, whatever the environment says: the stack is this machine's own."""
        return [sys.executable, "-m", "ops.cli", "api", "--host", LOOPBACK, "--port", str(self.port)]

    def is_ready(self) -> bool:
        """Whether it answers."""
        return http_status(self.port or 0, "/health") == HTTPStatus.OK


class Worker(Program):
    """
    A worker.

    Attributes:
        processes: How many it has; their metrics have a port each, the first that which its environment says.
    """

    def __init__(self, processes: int, env: Mapping[str, str], answers: Callable[[], bool]) -> None:
        super().__init__("worker", [sys.executable, "-m", "ops.cli", "worker"], env, answers)
        self.processes = processes
