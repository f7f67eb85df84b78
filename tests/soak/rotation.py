"""What is done to the system, one after the other, round after round: faults of its parts, attacks of a third key."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import redis

from jobs.errors import ImagemillError
from jobs.names import jobs_key
from ops.bench.api.attacks.attacking import attacking
from ops.bench.api.attacks.table import ATTACKS
from ops.bench.api.http_load import Target
from ops.process import LOOPBACK
from tests.soak.stage import OTHER, STEADY, Stage

_ROUNDS = 10  # are aimed at, in all; of an hour, 6 or 7 are come to: what attackers left takes a while to clear
_LEAST_STEP_S, _MOST_STEP_S = 4.0, 25.0
_HURT_SHARE = 0.5  # of a step; the rest is for getting well again
_OPEN_S, _LOOK_S = 5.0, 0.5  # Within so long what is open of a revoked key ends.

Hurt = Callable[[], AbstractContextManager[None]]


class Rotation(threading.Thread):
    """
    Goes through all of it, again and again.

    Attributes:
        begun: When each round began, on the monotonic clock; the last one may have no end.
        done: How often each was done.
        answered: What attackers were answered.
        broken: What did not work as a fault or an attack.

    Args:
        seconds: How long it is to go on; some rounds of all of it, if that is enough.
    """

    def __init__(self, stage: Stage, seconds: float) -> None:
        super().__init__(name="rotation", daemon=True)
        self._stage = stage
        self._hurts = self._mixed()
        self._step_s = min(max(seconds / _ROUNDS / len(self._hurts), _LEAST_STEP_S), _MOST_STEP_S)
        self.begun: list[float] = []
        self.done: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.broken: list[str] = []
        self._stopping = threading.Event()

    def run(self) -> None:
        while True:
            self.begun.append(time.monotonic())
            for name, hurt in self._hurts.items():
                until = time.monotonic() + self._step_s
                try:
                    with hurt():
                        self._stopping.wait(self._step_s * _HURT_SHARE)
                except (ImagemillError, redis.exceptions.RedisError, OSError, RuntimeError, AssertionError) as exc:
                    self.broken.append(f"{name}: {type(exc).__name__}: {exc}")
                self.done[name] += 1
                if self._stopping.wait(max(0.0, until - time.monotonic())):
                    return

    def stop(self) -> None:
        """At the end of what is being done."""
        self._stopping.set()
        self.join()

    def _mixed(self) -> Mapping[str, Hurt]:
        """Faults and attacks by turns."""
        faults = list(self._faults().items())
        attacks = list(self._attacks().items())
        every = max(1, len(attacks) // len(faults))
        mixed: dict[str, Hurt] = {}
        for number, (name, hurt) in enumerate(faults):
            last = None if number == len(faults) - 1 else (number + 1) * every
            mixed |= {name: hurt, **dict(attacks[number * every : last])}
        return mixed

    def _faults(self) -> Mapping[str, Hurt]:
        stage = self._stage
        return {
            "worker killed": lambda: _once(lambda: stage.kill(OTHER)),
            "worker told to stop": lambda: _once(lambda: stage.terminate(OTHER)),
            "Redis started again": lambda: _once(stage.restart_redis),
            "Redis nearly full": lambda: stage.full_redis(0.9),
            "S3 away": lambda: self._s3(STEADY, 503, "SlowDown"),
            "S3 refuses": lambda: self._s3(OTHER, 403, "AccessDenied"),
        }

    def _attacks(self) -> Mapping[str, Hurt]:
        return {name: lambda name=name: self._attack(name) for name in ATTACKS}  # type: ignore[misc]

    @contextmanager
    def _s3(self, worker: str, status: int, code: str) -> Iterator[None]:
        proxy = self._stage.proxies[worker]
        proxy.code, proxy.answer_put = code, status
        try:
            yield
        finally:
            proxy.answer_put = 0

    @contextmanager
    def _attack(self, name: str) -> Iterator[None]:
        stage, chosen = self._stage, ATTACKS[name]
        caller = f"attacker-{list(ATTACKS).index(name)}"
        token, api = stage.key(caller), stage.system.api
        job_id = stage.system.submit(token, start_after=3_600)
        port = api.port if api else None
        target = Target(host=LOOPBACK, port=port or 0, job_id=job_id, token=token)
        try:
            with stage.full_redis(chosen.redis_share), attacking(name, target) as under_way:
                yield
                if chosen.is_revoked:
                    stage.keys.revoke(caller)
                    self._stopping.wait(self._step_s * _HURT_SHARE / 2)
            self.answered.update({f"{name}: {status}": times for status, times in under_way.answered.items()})
        finally:
            self._clear(caller)

    def _clear(self, caller: str) -> None:
        """
        Nobody runs what an attacker left, nor what of it still came while that was canceled.

        A batch whose sender has gone is entered as far as it was read. The key is revoked, so that this ends.
        """
        self._stage.keys.revoke(caller)
        end, is_last = time.monotonic() + _OPEN_S, False
        while not is_last:
            time.sleep(_LOOK_S)
            is_last = time.monotonic() > end  # Asked before it, for it may take longer than all of that.
            self._cancel(caller)

    def _cancel(self, caller: str) -> None:
        table = self._stage.parts.table
        ids = [str(job_id) for job_id in self._stage.redis.zrange(jobs_key(caller), 0, -1)]
        for job_id, status in zip(ids, table.statuses(ids), strict=True):
            if status in ("queued", "processing"):
                self._stage.parts.dispatcher.offer(table.cancel(job_id)[1])


@contextmanager
def _once(act: Callable[[], None]) -> Iterator[None]:
    act()
    yield
