"""What may be long is read in pieces, so that Redis has others' turns in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import redis

PIECE = 250  # entries that one command looks at, or about as many


def newest_first(client: redis.Redis, key: str) -> list[tuple[str, float]]:
    """
    A sorted set's members with their scores, the highest first; raises what redis-py does.

    What comes or goes meanwhile may be there or not; all else is, once.
    """
    found = {str(member): float(score) for member, score in client.zscan_iter(key, count=PIECE)}
    return sorted(found.items(), key=lambda each: (each[1], each[0]), reverse=True)


def in_pieces(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """The same, so many at a time."""
    return (ids[at : at + PIECE] for at in range(0, len(ids), PIECE))
