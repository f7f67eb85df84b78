"""What stands in the Lua scripts, as far as it can be seen without running them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import names, scripts
from jobs.scripts.fields import FIELDS, PREFIXES
from jobs.scripts.preamble import spelled
from jobs.scripts.scripts import library, script_names, source_of
from jobs.table import record

SCRIPTS = Path(scripts.__file__).parent / "lua"
SOURCES = {str(path.relative_to(SCRIPTS)): re.sub("--.*", "", path.read_text()) for path in SCRIPTS.rglob("*.lua")}
RECORD = re.compile(r"job|key\.job\(.*\)")
MAY_FAIL_WHEN_REDIS_IS_FULL = {"submit", "replay", "file_begin", "file_add", "file_use"}
READ_ONLY = {"outgoing", "place", "prospect"}


def arguments_behind(lua: str, opening: str) -> Iterator[list[str]]:
    """Of each call, or table, that opens like this: what stands between its commas."""
    for found in re.finditer(re.escape(opening), lua):
        depth, start, parts = 1, found.end(), []
        for at in range(start, len(lua)):
            depth += (lua[at] in "({[") - (lua[at] in ")}]")
            if depth == 0 or (depth == 1 and lua[at] == ","):
                parts.append(lua[start:at].strip())
                start = at + 1
            if depth == 0:
                break
        yield [part for part in parts if part]


def record_fields(lua: str) -> Iterator[str]:
    """The expressions by which a script names fields of a job's record."""
    for command, *rest in arguments_behind(lua, "redis.call("):
        if rest and RECORD.fullmatch(rest[0]):
            match command:
                case "'HSET'":
                    yield from rest[1::2]
                case "'HMGET'" | "'HDEL'":
                    yield from rest[1:]
                case "'HGET'" | "'HSETNX'" | "'HINCRBY'":
                    yield rest[1]
    yield from (each[1] for each in arguments_behind(lua, " field("))
    yield from (each[1] for each in arguments_behind(lua, "(field("))
    yield from (each[0] for each in arguments_behind(lua, " note("))
    for _, _, *rest in arguments_behind(lua, " conclude("):
        yield from next(arguments_behind(rest[0], "{"), [])[::2]
    for table in ("local fields = {", "local written = {"):
        yield from next(arguments_behind(lua, table), [])[::2]
    for each in arguments_behind(lua, " look_up("):
        yield from next(arguments_behind(each[1], "{"), [])
    yield from next(arguments_behind(lua, "local command = {"), [])


def test_scripts_and_records_name_the_declared_fields_and_no_others() -> None:
    named = {each for lua in SOURCES.values() for each in record_fields(lua) if "'" in each}
    plain = {each.strip("'") for each in named if re.fullmatch("'[^']*'", each)}
    assert plain == set(FIELDS)
    prefixes = {each.partition(" .. ")[0].strip("'") for each in named if not re.fullmatch("'[^']*'", each)}
    assert prefixes == set(PREFIXES)
    read = re.findall(r'\bfields(?:\.get\(|\[|, )"(\w+)"', Path(record.__file__).read_text())
    assert len(read) > 10
    assert set(read) <= set(FIELDS)


def test_scripts_spell_no_name_of_redis() -> None:
    for name, lua in SOURCES.items():
        assert "imagemill" not in lua, name
        for command, *rest in arguments_behind(lua, "redis.call("):
            is_about_a_key = command not in ("'TIME'", "'INFO'")
            assert not is_about_a_key or not rest[0].startswith("'"), (name, command, rest)


def test_names_are_declared_once() -> None:
    for is_channel in (False, True):
        lua = [each.lua for each in names.REDIS_NAMES if each.is_channel is is_channel]
        assert len(set(lua)) == len(lua)
    spelled = [(each.start, len(each.parts)) for each in names.REDIS_NAMES]
    assert len(set(spelled)) == len(spelled)


@pytest.mark.parametrize("script", script_names())
def test_script_has_no_name_that_there_is_not(script: str) -> None:
    assert source_of(script)  # Raises, as the next test says.


@pytest.mark.parametrize("lua", ["key.jbo(id)", "key.job", "key.jobs('caller')", "key.cancel", "channel.job(id)"])
def test_name_that_there_is_not_is_an_error_at_once(lua: str) -> None:
    with pytest.raises(LookupError, match=re.escape(lua.partition("(")[0])):
        spelled(f"return {lua}")


@pytest.mark.parametrize(
    ("lua", "notification_args"),
    [
        ("key.jobs", "'imagemill:jobs'"),
        ("key.job(id)", "('imagemill:job:' .. id)"),
        (
            "redis.call('GET', key.waiting(queue, is.caller), 1)",
            "redis.call('GET', ('imagemill:waiting:' .. queue .. ':' .. is.caller), 1)",
        ),
        ("key.job(ids[f(1, 2)] or other)", "('imagemill:job:' .. (ids[f(1, 2)] or other))"),
        ("key.job(key.paused)", "('imagemill:job:' .. 'imagemill:paused')"),
        ("monkey.job(id)", "monkey.job(id)"),
    ],
)
def test_names_are_written_out_where_they_stand(lua: str, notification_args: str) -> None:
    assert spelled(lua) == notification_args


def test_script_has_of_the_library_what_it_uses() -> None:
    assert "function refund" in source_of("refund")
    assert "function conclude" not in source_of("refund")
    for paragraph in library():
        assert len(re.findall("^local ", paragraph, re.MULTILINE)) <= 1
    sources = [source_of(script) for script in script_names()]
    declared = re.findall(r"^local (?:function )?(\w+)", "".join(library()), re.MULTILINE)
    assert all(any(re.search(rf"^local (?:function )?{name}\b", each, re.M) for each in sources) for name in declared)


def test_what_runs_or_ends_jobs_runs_when_redis_is_full() -> None:
    flags = {script: source_of(script).split("\n", 1)[0] for script in script_names()}
    assert {name for name, line in flags.items() if not line.startswith("#!")} == MAY_FAIL_WHEN_REDIS_IS_FULL
    assert {name for name, line in flags.items() if line == "#!lua flags=no-writes"} == READ_ONLY
    allowed = set(flags) - MAY_FAIL_WHEN_REDIS_IS_FULL - READ_ONLY
    assert {flags[name] for name in allowed} == {"#!lua flags=allow-oom"}
