"""
What came from outside, as a terminal may have it: nothing in it moves the cursor, colours, links or turns lines around.

Prompts, names of fields and messages of errors are others' words. Escapes begin with a control character of ASCII or of
its upper half (ECMA-48, C0 and C1); marks of direction show a line in another order than it has (UAX 9).
"""

from __future__ import annotations

import re

_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # all but tab and line feed
_DIRECTIONS = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_UNSEEN = r"\u200b\u2028\u2029\u2060-\u2064\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"
_HOSTILE = re.compile(f"[{_CONTROLS}{_DIRECTIONS}{_UNSEEN}]")


def visible(text: str) -> str:
    """The text with each such character as Python writes it, e.g. a backslash and `x1b`."""
    return _HOSTILE.sub(lambda found: ascii(found[0])[1:-1], text)


def visible_line(text: str) -> str:
    """The same for what is to stay one line."""
    return visible(text).replace("\n", "\\n")


def visible_json(text: str) -> str:
    """The same for text that is JSON, which means what it meant."""
    return _HOSTILE.sub(lambda found: _escaped(found[0]), text)


def _escaped(character: str) -> str:
    """JSON has escapes of 16 bits alone: beyond them, a pair (RFC 8259, section 7)."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
