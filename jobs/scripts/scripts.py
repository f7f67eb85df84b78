"""
Runs the job table's Lua scripts. Each may run twice, for redis-py repeats a command on a broken connection.

A script gets one argument: its named arguments as JSON. It reads them as `args`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import redis
from pydantic_core import to_json

from jobs.process.settings import Settings
from jobs.redis.connection import full_error, map_errors
from jobs.scripts.preamble import preamble, spelled

_LIBRARY = (
    "base",
    "slots",
    "shares",
    "turns",
    "kept",
    "deletions",
    "ends",
    "drops",
    "places",
    "files",
)  # In this order: each uses only what stands before it.
_DECLARED = re.compile(r"^local (?:function )?(\w+)", re.MULTILINE)

_Fields = Mapping[str, str | int]
Argument = str | int | float | Sequence[str] | Sequence[int] | Sequence[_Fields] | _Fields | None
Call = tuple[str, bytes]  # a script's name, and its arguments as `arguments` gives them


def arguments(**args: Argument) -> bytes:
    """
    The one argument of a script. What is None is left out, and is nil there.

    What is opaque to scripts (specification, images, error) goes in as a text that is JSON itself, and is written as it
    came: Lua's JSON would make 9.2233720368548e+18 of a seed, and `{}` of `[]`. Its numbers have 14 digits at most.

    Pydantic's serializer is a dependency anyway, and takes a quarter of the time of Python's.
    """
    return to_json({name: value for name, value in args.items() if value is not None})


class Scripts:
    """The scripts in `lua/`, by name. Each is loaded into Redis when first needed, and again if Redis forgot it."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._redis = client
        self._settings = settings
        self._scripts = {name: client.register_script(source_of(name)) for name in script_names()}

    def run(self, script: str, /, **args: Argument) -> Any:
        """
        Run one script.

        Raises:
            RedisUnavailable, RedisFull
        """
        with map_errors(self._settings):
            return self._scripts[script](args=[arguments(**args)])

    def run_many(self, calls: Sequence[Call], *, may_be_full: bool = False) -> list[Any]:
        """
        Run scripts one after the other in one round trip.

        Args:
            may_be_full: Redis may have no room for some of them. Their answer is the `RedisFull` then, which would
                otherwise be raised, though it had room for others.

        Raises:
            RedisUnavailable, RedisFull
        """
        with map_errors(self._settings):
            answers = self._send(calls)
            unknown = [at for at, each in enumerate(answers) if isinstance(each, redis.exceptions.NoScriptError)]
            if unknown:  # What ran before the first of them need not run again, and may be seen when it does.
                for name in {name for name, _ in calls}:
                    self._redis.script_load(self._scripts[name].script)
                answers = [*answers[: unknown[0]], *self._send(calls[unknown[0] :])]
            return [self._check(each, may_be_full) for each in answers]

    def _send(self, calls: Sequence[Call]) -> list[Any]:
        # Not through redis-py's own scripts: those ask before each pipeline whether Redis knows them.
        pipeline = self._redis.pipeline(transaction=False)
        for name, args in calls:
            pipeline.evalsha(self._scripts[name].sha, 0, args)
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


@cache
def script_names() -> tuple[str, ...]:
    """All scripts that there are."""
    found = (path.name for path in (files("jobs.scripts") / "lua").iterdir() if path.is_file())
    return tuple(sorted(name.removesuffix(".lua") for name in found if name.endswith(".lua")))


@cache
def source_of(script: str) -> str:
    """A script as Redis gets it: with what Python and the library put before it, and its flags before all."""
    body = _read(f"{script}.lua")
    flags = body.split("\n", 1)[0] + "\n" if body.startswith("#!") else ""
    code = _code(_with_library(body.removeprefix(flags)))
    return flags + preamble(code) + spelled(code)


def _with_library(body: str) -> str:
    """
    A script behind those paragraphs of the library that it uses, directly or not.

    Each call makes every function anew that stands there: 0.2 µs each, of the 40 that a submission takes.
    """
    for paragraph in reversed(library()):
        declared = _DECLARED.search(paragraph)
        if declared and re.search(rf"\b{declared[1]}\b", _code(body)):
            body = paragraph + "\n" + body
    return body


@cache
def library() -> tuple[str, ...]:
    """The paragraphs of the library, each of which declares one thing, in their order."""
    return tuple(
        paragraph + "\n" for name in _LIBRARY for paragraph in _read("lib", f"{name}.lua").rstrip().split("\n\n")
    )


def _code(lua: str) -> str:
    return re.sub("--.*", "", lua)


def _read(*path: str) -> str:
    return files("jobs.scripts").joinpath("lua", *path).read_text("utf-8")
