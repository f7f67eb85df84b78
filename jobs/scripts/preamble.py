"""
What scripts have from Python: names and numbers that both know.

A name is written out where it stands, and not as a function of a table in front of the script: Redis would make all
such functions anew whenever it runs one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from jobs import names
from jobs.scripts import ranks

_NAME = re.compile(r"\b(key|channel)\.(\w+)")
_PLAIN = re.compile(r"[\w.]+|'[^']*'")  # Lua that stands beside `..` without parentheses.
_KNOWN = {(each.is_channel, each.lua): each for each in names.REDIS_NAMES}


def preamble(script: str) -> str:
    """Lua that declares the ranks and the schema version, as far as the script uses them."""
    lines = [f"local {name} = {value}" for name, value in _numbers() if re.search(rf"\b{name}\b", script)]
    return "".join(f"{line}\n" for line in lines)


def spelled(script: str) -> str:
    """
    The same Lua with each `key.NAME`, `key.NAME(PARTS)` and `channel.…` of it written out.

    Args:
        script: Without comments, for these may name what is none.

    Raises:
        LookupError: The script uses a name that there is not, or one that has parts without them, or the reverse.
    """
    written, at = [], 0
    while found := _NAME.search(script, at):
        written.append(script[at : found.start()])
        parts, at = _parts(script, found.end())
        written.append(_spell(found[1], found[2], parts))
    return "".join([*written, script[at:]])


def _parts(script: str, at: int) -> tuple[list[str], int]:
    """What stands in the parentheses that open here, if any do, between its commas; and where they have ended."""
    if not script.startswith("(", at):
        return [], at
    parts, depth = [""], 0
    for end in range(at, len(script)):
        letter = script[end]
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0:
            return parts, end + 1
        if letter == "," and depth == 1:
            parts.append("")
        elif end > at:
            parts[-1] += letter
    raise ValueError(f"what opens here does not close: {script[at : at + 40]}")


def _spell(table: str, name: str, parts: Sequence[str]) -> str:
    known = _KNOWN.get((table == "channel", name))
    if known is None or len(known.parts) != len(parts):
        raise LookupError(f"{table}.{name}{'(…)' if parts else ''} is no name of jobs/names.py")
    if not parts:
        return f"'{known.start}'"
    texts = [spelled(part.strip()) for part in parts]
    each = [part if _PLAIN.fullmatch(part) else f"({part})" for part in texts]
    return f"('{known.start}:' .. " + " .. ':' .. ".join(each) + ")"


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
        ("KEPT_UNIT", names.KEPT_UNIT),
        ("PRIORITY_RANK", f"{{{by_priority}}}"),
    ]
