"""Runs an attack: in this process for a while, or in its own process until it is stopped."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

from ops.bench.api.attacks.attack import Attack
from ops.bench.api.attacks.table import ATTACKS
from ops.bench.api.http_load import Target
from ops.settings import CHECKOUT

_NICE = 5  # Low priority: an attacker has machines of his own, and what is measured has only this one.
_BREATH_S = 0.05
_ENDS_S = 60.0
_LINE_BYTES = 1


async def attack(chosen: Attack, target: Target, seconds: float) -> Counter[str]:
    """Do it again and again; how often each status was the answer."""
    answered = Counter[str]()
    await chosen.before(target, lambda status: answered.update([status]))
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await _go_on(chosen, target, answered)
    return answered


async def _go_on(chosen: Attack, target: Target, answered: Counter[str]) -> None:
    numbers = count()

    def note(status: str) -> None:
        answered[status] += 1

    async def one() -> None:
        while True:
            try:
                await chosen.attacker(target, next(numbers), note)
            except (OSError, EOFError) as exc:
                note(type(exc).__name__)
                await asyncio.sleep(_BREATH_S)

    await asyncio.gather(*(one() for _ in range(chosen.at_once)))


class Attacking:
    """
    An attack that goes on in a process of its own.

    Attributes:
        answered: How often each status was the answer; there when it has ended.
    """

    def __init__(self, name: str, target: Target) -> None:
        arguments = json.dumps({"name": name, "target": dataclasses.asdict(target)})
        command = [sys.executable, "-m", "ops.bench.api.attacks", arguments]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=CHECKOUT)
        self.answered: Counter[str] = Counter()

    def wait_until_begun(self) -> None:
        """Until what comes before it is done."""
        self.answered = self._read()

    def answers_so_far(self) -> Counter[str]:
        """What it was answered so far."""
        if self._process.stdin is not None:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> Counter[str]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"the attack has ended with code {self._process.wait()}")
        return Counter(json.loads(line))

    def stop(self) -> None:
        """Stop it, and return what it was answered."""
        try:
            output, _ = self._process.communicate(timeout=_ENDS_S)  # Its input ends with that.
            self.answered = Counter(json.loads(output or "{}"))
        finally:
            self._process.kill()
            self._process.wait()


@contextmanager
def attacking(name: str, target: Target) -> Iterator[Attacking]:
    """For as long as this lasts."""
    under_way = Attacking(name, target)
    try:
        under_way.wait_until_begun()
        yield under_way
    finally:
        under_way.stop()


def main(arguments: str) -> None:
    """As a process: prints what it was answered, as JSON: when it begins, for each line of its input, at the end."""
    os.nice(_NICE)
    chosen = json.loads(arguments)
    asyncio.run(_until_input_ends(ATTACKS[chosen["name"]], Target(**chosen["target"])))


async def _until_input_ends(chosen: Attack, target: Target) -> None:
    answered = Counter[str]()
    await chosen.before(target, lambda status: answered.update([status]))
    ended, loop = asyncio.Event(), asyncio.get_running_loop()

    def report() -> None:
        sys.stdout.write(json.dumps(answered) + "\n")
        sys.stdout.flush()

    def read() -> None:
        if os.read(sys.stdin.fileno(), _LINE_BYTES):
            report()
        else:
            loop.remove_reader(sys.stdin.fileno())
            ended.set()

    report()
    loop.add_reader(sys.stdin.fileno(), read)
    going_on = asyncio.create_task(_go_on(chosen, target, answered))
    stopping = asyncio.create_task(ended.wait())
    await asyncio.wait([going_on, stopping], return_when=asyncio.FIRST_COMPLETED)
    going_on.cancel()
    with suppress(asyncio.CancelledError):
        await going_on
    stopping.cancel()
    report()
