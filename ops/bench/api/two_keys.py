"""What one key's work takes while another key attacks: both side by side, in one system, in turns with quiet."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from jobs.names import queue_of
from jobs.process.settings import load_settings
from ops.bench.api.attacks.attack import LET_GO, Attack
from ops.bench.api.attacks.attacking import Attacking, attacking
from ops.bench.api.attacks.records import IDLE
from ops.bench.api.attacks.table import ATTACKS
from ops.bench.api.http_load import Target
from ops.bench.api.neighbour import Neighbour, Seen
from ops.process import LOOPBACK, StackError, wait_until
from ops.programs import Api, Flower
from ops.settings import load_stack_settings
from ops.stack import Stack, local_stack, storage_at
from producer.client.parts import Parts, open_parts
from producer.keys.store import KeyStore

MOST_RATIO = 3.0

# Below these a busy machine's own doing is most of it: a slice of its scheduler, a step of a job that runs.
QUIET_REQUEST_MS = 50.0
QUIET_JOB_MS = 500.0
QUIET_EXPIRED_MS = 1_500.0  # The deadline, and the reconciler's passes.

_MODEL = "sim"
_ENTRY = """
[models.{name}]
source = "launch_s=0.01 row_s=0.002 encode_s=0.005 decode_s=0.005"
revision = "bench"
dtype = "float32"
family = "simulated"
schedulers = ["ddim"]
defaults = {{ width = 64, height = 64, num_inference_steps = 5, guidance_scale = 1.0, scheduler = "ddim" }}
limits = {{ min_side = 64, max_side = 256, side_multiple = 8, max_steps = 1000, max_n = 16 }}
"""
_SLOTS = 8
_FAR_S = 30 * 24 * 3_600.0
_LET_GO_S = 60.0
_END_S = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """
    One measurement of an attack, and the quiet ones before and behind it.

    Attributes:
        request_ms, job_ms, expired_ms: The neighbour's p95, attacked; and quiet. The last is of jobs whose deadline
            passes.
        lost: What the neighbour should not have seen, at any time.
        requests: How many it made while it was attacked.
        answered: What the attacker was answered, how often.
        grown_mib: By how much the API process was larger at the end, and `peak_mib` what it had at most, ever.
    """

    request_ms: float
    quiet_request_ms: float
    job_ms: float
    quiet_job_ms: float
    expired_ms: float
    quiet_expired_ms: float
    requests: int
    lost: tuple[str, ...]
    answered: Mapping[str, int]
    grown_mib: float
    peak_mib: float

    @property
    def request_ratio(self) -> float:
        """Attacked over quiet."""
        return self.request_ms / max(self.quiet_request_ms, QUIET_REQUEST_MS)

    @property
    def job_ratio(self) -> float:
        """Attacked over quiet."""
        return self.job_ms / max(self.quiet_job_ms, QUIET_JOB_MS)

    @property
    def expired_ratio(self) -> float:
        """Attacked over quiet."""
        return self.expired_ms / max(self.quiet_expired_ms, QUIET_EXPIRED_MS)

    @property
    def is_kept(self) -> bool:
        """Whether the neighbour's times stayed within `MOST_RATIO`."""
        return max(self.request_ratio, self.job_ratio, self.expired_ratio) <= MOST_RATIO


class TwoKeys:
    """
    A whole system, with a key that works quietly, and another one for each attack.

    Args:
        stack: Without Flower; it runs.
    """

    def __init__(self, stack: Stack, parts: Parts) -> None:
        self._parts, self._redis = parts, parts.redis
        self._api = next(each for each in stack.programs if isinstance(each, Api))
        self._keys = KeyStore(parts.redis, parts.settings)
        self._targets: dict[str, Target] = {}
        self._quiet: Seen | None = None  # of the last round
        self._neighbour = Neighbour(self._new_key("neighbour"), IDLE)

    def round(self, name: str, seconds: float) -> Round:
        """Measure with an attack, and without before it and behind it. Nothing is left of it but its records."""
        chosen, before_mib = ATTACKS[name], self._memory_mib("VmRSS")
        before = self._quiet or self._work(seconds)
        target = self._target(name, chosen)
        try:
            with self._room(chosen), attacking(name, target) as attack:
                seen = asyncio.run(self._beside(attack, chosen, name, seconds))
        finally:
            self._forget()
        self._quiet = after = self._work(seconds)
        quiet = before.with_(after)
        return Round(
            request_ms=seen.request_ms,
            quiet_request_ms=quiet.request_ms,
            job_ms=seen.job_ms,
            quiet_job_ms=quiet.job_ms,
            expired_ms=seen.expired_ms,
            quiet_expired_ms=quiet.expired_ms,
            requests=len(seen.took_s),
            lost=(*quiet.lost, *seen.lost),
            answered=attack.answered,
            grown_mib=self._memory_mib("VmRSS") - before_mib,
            peak_mib=self._memory_mib("VmHWM"),
        )

    def _work(self, seconds: float) -> Seen:
        return asyncio.run(self._neighbour.work(seconds))

    async def _beside(self, attack: Attacking, chosen: Attack, name: str, seconds: float) -> Seen:
        working = asyncio.create_task(self._neighbour.work(seconds))
        if chosen.is_revoked:
            await asyncio.sleep(seconds / 2)
            await asyncio.to_thread(self._keys.revoke, _name_of(name))
            await asyncio.to_thread(wait_until, lambda: attack.answers_so_far()[LET_GO] >= chosen.at_once, _LET_GO_S)
        return await working

    def _target(self, name: str, chosen: Attack) -> Target:
        """What the attacker knows; its key is the same in each round."""
        known = self._targets.get(name)
        if known is None:
            known = self._new_key(_name_of(name))
        elif chosen.is_revoked:
            known = replace(known, token=self._keys.rotate(_name_of(name))[0])
        self._targets[name] = known
        return known

    def _new_key(self, name: str) -> Target:
        token, _ = self._keys.create(name)
        job = {"prompt": "a blue square", "model": IDLE, "start_after": _FAR_S, "caller": name}
        job_id = self._parts.submitter.submit(job)
        return Target(host=LOOPBACK, port=self._api.port or 0, job_id=job_id, token=token)

    @contextmanager
    def _room(self, chosen: Attack) -> Iterator[None]:
        """As much as the attack may have of Redis."""
        if chosen.redis_share:
            used = int(self._redis.info("memory")["used_memory"])
            self._redis.config_set("maxmemory", int(used / chosen.redis_share))
        try:
            yield
        finally:
            self._redis.config_set("maxmemory", 0)

    def _forget(self) -> None:
        """Nobody waits for what an attacker left in the queue: it does not run."""
        queue = queue_of(_MODEL)
        self._parts.control.cancel_all(queue, running=True)
        queues = self._parts.table.queues
        if not wait_until(lambda: not any(each.running for each in queues() if each.queue == queue), _END_S):
            raise StackError(f"what the attack left did not end within {_END_S:g} s")

    def _memory_mib(self, what: str) -> float:
        lines = Path(f"/proc/{self._api.pid}/status").read_text("utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) / 1024


def _name_of(attack: str) -> str:
    return f"attacker-{list(ATTACKS).index(attack)}"


@contextmanager
def two_keys() -> Iterator[TwoKeys]:
    """
    A system of its own: Redis, S3, the API and a worker with a simulated device, as processes; all end with it.

    Raises:
        StackError: A process did not start.
    """
    with TemporaryDirectory(prefix="imagemill-bench-") as folder:
        data = Path(folder)
        (data / "models.toml").write_text("".join(_ENTRY.format(name=name) for name in (_MODEL, IDLE)), "utf-8")
        nothing_else = load_stack_settings(redis_port=0, s3_port=0, flower_port=0, api_port=0)
        whole = local_stack(nothing_else, data, _variables(data))
        stack = Stack(whole.servers, [each for each in whole.programs if not isinstance(each, Flower)], whole.env)
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # So that nothing is left behind.
        try:
            stack.start(lambda _process, _line: None, lambda _process, _took_s: None)
            settings = load_settings(
                redis_url=whole.env["IMAGEMILL_REDIS_URL"], models_file=Path(whole.env["IMAGEMILL_MODELS_FILE"])
            )
            parts = open_parts(settings, storage_at(whole.env["IMAGEMILL_S3_ENDPOINT_URL"]))
            with closing(parts):
                yield TwoKeys(stack, parts)
        finally:
            stack.stop()
            signal.signal(signal.SIGTERM, before)


def _variables(data: Path) -> dict[str, str]:
    return {
        "IMAGEMILL_MODELS_FILE": str(data / "models.toml"),
        "IMAGEMILL_RETENTION_S": "60",  # What one attack leaves is not to fill Redis for the next.
        "IMAGEMILL_WORKER_CACHE_DIR": str(data / "cache"),
        "IMAGEMILL_WORKER_CONCURRENCY": str(_SLOTS),
        "IMAGEMILL_WORKER_PROCESSES": "1",
        "IMAGEMILL_WORKER_MODELS": _MODEL,
        "OMP_NUM_THREADS": "1",
    }
