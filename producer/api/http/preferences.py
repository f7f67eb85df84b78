"""What a client would like (RFC 7240). What is not understood is no error."""

from __future__ import annotations

import re

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?:$|[,;])", re.ASCII | re.IGNORECASE)


def asked_wait_s(prefer: str | None) -> int:
    """The N of `wait=N` in a `Prefer` header; 0 where there is none."""
    found = _WAIT.search(prefer or "")
    return int(found[1]) if found else 0
