"""What a client would like (RFC 7240). What is not understood is no error."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.request import parse_http_list

_DIGITS = 9  # A wait of so many is beyond any limit.


def requested_wait_s(prefer: Iterable[str]) -> int:
    """
    The N of `wait=N`; 0 where there is none.

    Args:
        prefer: The values of all `Prefer` headers, in order. Of a preference that comes twice the first counts.
    """
    for preference in parse_http_list(",".join(prefer)):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            number = value.strip().strip('"')
            return int(number[:_DIGITS]) if number.isascii() and number.isdecimal() else 0
    return 0
