"""Lists of Redis that messages stand in: one for each priority of a queue, named as kombu names them."""

from __future__ import annotations

PRIORITIES = range(10)  # that a message may have; clients differ in which of them they use
_SEPARATOR = "\x06\x16"  # kombu.transport.redis: a queue's list of each priority but 0 has it and the number


def list_of(queue: str, priority: int) -> str:
    """The list of Redis that a queue's messages of a priority stand in."""
    return f"{queue}{_SEPARATOR}{priority}" if priority else queue


def queue_in_list(key: str) -> tuple[str, int | None]:
    """The queue and the priority whose messages stand in a list of Redis; None for a name that kombu gives none."""
    queue, separator, priority = key.partition(_SEPARATOR)
    if not separator:
        return queue, 0
    return queue, next((each for each in PRIORITIES if each and priority == str(each)), None)
