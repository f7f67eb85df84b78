"""The README's reliability table, from what the last run of the suite noted: `python -m tests.faults.table`."""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.faults.harness.rows import FILE

_HEAD = """\
| fault | struck | jobs | succeeded | attempts | late writers refused | back within |
|---|--:|--:|--:|--:|--:|--:|
"""


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Markdown; a row for each test, in the order in which they ran."""
    return _HEAD + "".join(f"| {name} | {' | '.join(_cells(fields))} |\n" for name, fields in rows.items())


def _cells(fields: dict[str, Any]) -> list[str]:
    recovered = fields.get("recovered")
    counted = [str(fields[name]) for name in ("injected", "submitted", "finished", "attempts", "duplicates_refused")]
    return [*counted, f"{recovered['max_s']:.1f} s" if recovered else ""]


if __name__ == "__main__":
    sys.stdout.write(table(json.loads(FILE.read_text("utf-8"))))
