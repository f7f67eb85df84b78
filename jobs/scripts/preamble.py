"""The first lines of a script, written by Python: names and numbers that both know, as far as the script uses them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jobs import names
from jobs.scripts import ranks

_USED = re.compile(r"\b(key|channel)\.(\w+)(\(?)")


def preamble(script: str) -> str:
    """
    Lua that declares `key`, `channel`, the ranks and the schema version.

    Raises:
        LookupError: The script uses a name that there is not, or one that has parts without them, or the reverse.
    """
    used = {(table, name, bool(call)) for table, name, call in _USED.findall(script)}
    lines = [*_names("key", used), *_names("channel", used)]
    lines += [f"local {name} = {value}" for name, value in _numbers() if re.search(rf"\b{name}\b", script)]
    return "\n".join(("-- From jobs/names.py and jobs/scripts/ranks.py, by jobs/scripts/preamble.py.", *lines, ""))


def _names(table: str, used: set[tuple[str, str, bool]]) -> Iterator[str]:
    known = {each.lua: each for each in names.REDIS_NAMES if each.is_channel == (table == "channel")}
    entries = []
    for name, has_parts in sorted((name, has_parts) for within, name, has_parts in used if within == table):
        if name not in known or has_parts != bool(known[name].parts):
            raise LookupError(f"{table}.{name}{'(…)' if has_parts else ''} is no name of jobs/names.py")
        entries.append(f"  {_entry(known[name])},")
    if entries:
        yield from (f"local {table} = {{", *entries, "}")


def _entry(name: names.RedisName) -> str:
    if not name.parts:
        return f"{name.lua} = '{name.start}'"
    text = f"'{name.start}:'" + " .. ':'".join(f" .. {part}" for part in name.parts)
    return f"{name.lua} = function({', '.join(name.parts)}) return {text} end"


def _numbers() -> list[tuple[str, object]]:
    by_priority = ", ".join(f"{priority} = {rank}" for priority, rank in ranks.PRIORITY_RANK.items())
    return [
        ("SCHEMA_VERSION", names.SCHEMA_VERSION),
        ("FIRST", ranks.FIRST),
        ("LINE", ranks.LINE),
        ("TURN", ranks.TURN),
        ("FRONT", ranks.FRONT),
        ("RECONCILER_VERSION", names.RECONCILER_VERSION),
        ("CALLED", ranks.CALLED),
        ("PRIORITY_RANK", f"{{{by_priority}}}"),
    ]
