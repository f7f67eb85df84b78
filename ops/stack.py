"""Which processes make the stack of one machine, what each knows of the others, and the order they come and go in."""

from __future__ import annotations

import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import redis
from filelock import FileLock, Timeout
from kombu.exceptions import OperationalError

from jobs.broker.app import make_app
from jobs.errors import RedisUnavailable
from jobs.fleet.fleet import Fleet
from jobs.process.settings import Settings, load_settings
from jobs.redis.connection import connect
from ops.process import LOOPBACK, Process, StackError, free_port, never
from ops.programs import Api, Flower, Worker
from ops.servers import RedisServer, S3Server
from ops.settings import CHECKOUT, StackSettings
from storage.backends.s3.settings import S3Settings
from storage.settings import StorageSettings
from workers.process.devices.choice import find_devices
from workers.process.settings import load_worker_settings

BUCKET = "imagemill"
PROCESSES = "IMAGEMILL_WORKER_PROCESSES"
_WORKER_START_S = 600.0  # Imports torch and loads the model; many times what it takes, for a busy machine.
_FLOWER_USER = "imagemill"
_MOST_PROCESSES = 4
_OWNERS_ALONE = 0o700


class Stack:
    """
    Processes in the order of their starting: the servers, then the programs that use them.

    They stop the other way round, one by one: a worker that finishes a job while it stops still finds Redis and S3, and
    Flower sees the job's end.
    """

    def __init__(self, servers: Sequence[Process], programs: Sequence[Process], env: Mapping[str, str]) -> None:
        self.servers, self.programs = list(servers), list(programs)
        self.env = env

    @property
    def worker(self) -> Process:
        """The last to start, and the first to stop."""
        return self.programs[-1]

    @property
    def processes(self) -> list[Process]:
        """All, in the order of their starting."""
        return [*self.servers, *self.programs]

    def start(
        self,
        on_line: Callable[[Process, str], None],
        on_ready: Callable[[Process, float], None],
        is_stopping: Callable[[], bool] = never,
    ) -> None:
        """
        Start every process and wait until all answer; return early once `is_stopping`.

        Args:
            on_line: Gets each line that a process prints, called from a thread.
            on_ready: Called when a process answers, with the seconds that it took.
            is_stopping: Asked while waiting.

        Raises:
            StackError: A process ended, did not answer in time, or finds its port taken.
        """
        for group in (self.servers, self.programs):
            started = time.monotonic()
            for process in group:
                process.start(lambda line, process=process: on_line(process, line))  # type: ignore[misc]
            for process in group:
                process.wait_until_ready(_WORKER_START_S, lambda: is_stopping() or self.first_ended() is not None)
                self.raise_if_one_ended()
                if is_stopping():
                    return
                on_ready(process, time.monotonic() - started)

    def first_ended(self) -> Process | None:
        """A process that ended, which none does before it is stopped."""
        return next((process for process in self.processes if process.exit_code is not None), None)

    def raise_if_one_ended(self) -> None:
        """
        Look whether all are running.

        Raises:
            StackError: One is not.
        """
        if ended := self.first_ended():
            raise ended.failure(f"ended with code {ended.exit_code}, so everything stops")

    def stop(self, is_hurried: Callable[[], bool] = never) -> None:
        """Stop one after the other; `is_hurried` cuts the programs' grace short, the servers need none."""
        for process in reversed(self.processes):
            process.stop(is_hurried if process in self.programs else never)


def local_stack(settings: StackSettings, data: Path, variables: Mapping[str, str] | None = None) -> Stack:
    """
    Redis, S3, the API, one worker and Flower, which keep what they store under `data`.

    Args:
        settings: Where they listen; without an `api_port` there is no API.
        data: The folder.
        variables: `IMAGEMILL_*` variables that the processes get, whatever the environment says.
    """
    variables = variables or {}
    make_folder(data)
    data.chmod(_OWNERS_ALONE)  # What earlier versions wrote there is for others to read.
    redis_server = RedisServer(data / "redis", settings.redis_port)
    s3_server = S3Server(data / "s3", settings.s3_port)
    models = {"models_file": Path(variables["IMAGEMILL_MODELS_FILE"])} if "IMAGEMILL_MODELS_FILE" in variables else {}
    job_settings = load_settings(redis_url=redis_server.url, result_backend_url=redis_server.url, **models)
    models_file = {"IMAGEMILL_MODELS_FILE": str(job_settings.models_file.absolute())}
    env = {
        **os.environ,
        **addresses(redis_server, s3_server),
        **_python_env(),
        **_proxy_env(),
        **variables,
        **models_file,
    }
    processes = int(variables.get(PROCESSES) or worker_processes(job_settings))
    several = {PROCESSES: str(processes)}
    worker_env = {**env, **metrics_env(settings.worker_metrics_port), **several, **variables}
    of_all = processes * len(find_devices(load_worker_settings()))
    begun = time.time()
    worker = Worker(of_all, worker_env, lambda: worker_is_ready(job_settings, of_all, begun))
    login = f"{_FLOWER_USER}:{kept_password(data / 'flower' / 'password')}"
    flower = Flower(data / "flower" / "state", settings.flower_port, {"FLOWER_BASIC_AUTH": login, **env})
    api_env = {**env, **metrics_env(settings.api_metrics_port), **variables}
    apis = [] if settings.api_port is None else [Api(settings.api_port, api_env)]
    return Stack([redis_server, s3_server], [*apis, flower, worker], env)


def kept_password(file: Path) -> str:
    """
    The password in a file, which its owner alone may read; a new one, if there is none yet.

    Raises:
        StackError: The file's folder cannot be made.
    """
    make_folder(file.parent)
    file.touch(mode=0o600)
    password = file.read_text("utf-8").strip()
    if not password:
        password = secrets.token_urlsafe(12)
        file.write_text(f"{password}\n", "utf-8")
    return password


def metrics_env(port: int | None) -> dict[str, str]:
    """The variable that says where a process serves its metrics; 0 is any free port, None is nowhere."""
    return {"IMAGEMILL_METRICS_PORT": "off" if port is None else str(port or free_port())}


def addresses(redis_server: RedisServer, s3_server: S3Server) -> dict[str, str]:
    """The `IMAGEMILL_*` variables that lead a producer or a worker to these servers."""
    return {
        "IMAGEMILL_REDIS_URL": redis_server.url,
        "IMAGEMILL_RESULT_BACKEND_URL": redis_server.url,
        "IMAGEMILL_STORAGE": "s3",
        "IMAGEMILL_S3_ENDPOINT_URL": s3_server.endpoint,
        "IMAGEMILL_S3_ACCESS_KEY_ID": s3_server.access_key_id,
        "IMAGEMILL_S3_SECRET_ACCESS_KEY": s3_server.secret_access_key,
        "IMAGEMILL_S3_BUCKET": BUCKET,
    }


def storage_at(endpoint: str) -> StorageSettings:
    """Of a stack's store at an address, for a client in this process."""
    return S3Settings(endpoint_url=endpoint, bucket=BUCKET)


def worker_processes(settings: Settings) -> int:
    """
    Of the stack's worker on each device, where its own setting does not say.

    One for each core makes more pictures of the built-in model; another one may be too large for that.
    """
    if PROCESSES in os.environ:
        return load_worker_settings().processes
    is_small = settings.models_file.absolute() == CHECKOUT / "models.toml"
    if not is_small or shutil.which("nvidia-smi"):
        return 1
    return min(_MOST_PROCESSES, len(os.sched_getaffinity(0)))


def worker_is_ready(settings: Settings, processes: int = 1, since: float = math.inf) -> bool:
    """
    Whether so many processes of workers answer a ping within a second, without those that could not start.

    Args:
        since: Unix time; who failed before is none of them.
    """
    with make_app(settings) as app:
        try:
            answers = len(app.control.ping(timeout=1, limit=processes) or ())
            return answers >= processes or (bool(answers) and answers + _failed(settings, since) >= processes)
        except (OperationalError, redis.exceptions.RedisError, RedisUnavailable, OSError):
            return False


def _failed(settings: Settings, since: float) -> int:
    with closing(connect(settings)) as client:
        workers = Fleet(client, settings).workers()
    return sum(each.state == "failed" and each.failed_at > since for each in workers)


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """
    Keep a folder to ourselves: two servers over the same files would spoil them.

    Raises:
        StackError: Another stack holds it, or it cannot be made.
    """
    make_folder(folder)
    lock = FileLock(folder / "lock", fallback_to_soft=False)  # It ends with the process, however that ends.
    try:
        lock.acquire(blocking=False)
    except Timeout as exc:
        raise StackError(
            f"another stack uses {folder}. Stop it, or set IMAGEMILL_STACK_FOLDER to another folder."
        ) from exc
    try:
        yield
    finally:
        lock.release()


def make_folder(folder: Path) -> None:
    """
    Make a folder for the stack's files, if it is not there.

    Raises:
        StackError: That is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StackError(
            f"cannot make {folder} ({exc.strerror}). Set IMAGEMILL_STACK_FOLDER to another folder."
        ) from exc


def _python_env() -> dict[str, str]:
    path = os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])
    # Safe path: a folder named `storage` where the user happens to stand is not ours.
    return {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}


def _proxy_env() -> dict[str, str]:
    # Else boto3 asks a company's proxy for an object on this machine.
    return {name: ",".join(filter(None, [os.environ.get(name), LOOPBACK])) for name in ("NO_PROXY", "no_proxy")}
