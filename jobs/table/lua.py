"""Runs the job table's Lua scripts. Each may run twice, for redis-py repeats a command on a broken connection."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import redis

from jobs.process.settings import Settings
from jobs.redis.connection import full_error, map_errors


class Scripts:
    """The scripts in `scripts/`, by name. Redis is told of each when it is first needed, and again if it forgot."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._redis = client
        self._settings = settings
        self._scripts = {
            path.name.removesuffix(".lua"): client.register_script(source_of(path.name.removesuffix(".lua")))
            for path in (files("jobs.table") / "scripts").iterdir()
            if path.name.endswith(".lua") and path.name != "lib.lua"
        }

    def run(self, script: str, *args: object) -> Any:
        """
        Run one script.

        Raises:
            RedisUnavailable, RedisFull
        """
        with map_errors(self._settings):
            return self._scripts[script](args=[str(arg) for arg in args])

    def run_many(self, calls: Sequence[tuple[object, ...]], *, may_be_full: bool = False) -> list[Any]:
        """
        Run scripts one after the other in one round trip.

        Args:
            calls: Each is a script's name and its arguments.
            may_be_full: Redis may have no room for some of them. Their answer is the `RedisFull` then, which would
                otherwise be raised, though it had room for others.

        Raises:
            RedisUnavailable, RedisFull
        """
        with map_errors(self._settings):
            answers = self._send(calls)
            if any(isinstance(each, redis.exceptions.NoScriptError) for each in answers):
                for name in {str(name) for name, *_ in calls}:
                    self._redis.script_load(self._scripts[name].script)
                answers = self._send(calls)
            return [self._check(each, may_be_full) for each in answers]

    def _send(self, calls: Sequence[tuple[object, ...]]) -> list[Any]:
        # Not through redis-py's own scripts: those ask before each pipeline whether Redis knows them.
        pipeline = self._redis.pipeline(transaction=False)
        for name, *args in calls:
            pipeline.evalsha(self._scripts[str(name)].sha, 0, *[str(arg) for arg in args])
        return list(pipeline.execute(raise_on_error=False))

    def _check(self, answer: Any, may_be_full: bool) -> Any:
        if may_be_full and isinstance(answer, redis.exceptions.OutOfMemoryError):
            return full_error(self._settings, answer)
        if isinstance(answer, Exception):
            raise answer
        return answer


def as_mapping(answer: Sequence[str]) -> dict[str, str]:
    """A hash as a script returns it: names and values, one after the other."""
    return dict(zip(answer[::2], answer[1::2], strict=True))


def source_of(script: str) -> str:
    """A script as Redis gets it, with `lib.lua` before it."""
    scripts = files("jobs.table") / "scripts"
    body = (scripts / f"{script}.lua").read_text("utf-8")
    shebang = body.split("\n", 1)[0] + "\n" if body.startswith("#!") else ""
    return shebang + (scripts / "lib.lua").read_text("utf-8") + body.removeprefix(shebang)
