"""Metrics of messages that are not jobs yet, and of notifications of finished jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from jobs import names
from jobs.fleet.backlog import ListBacklog, nobody_takes
from jobs.fleet.fleet import WorkerReport
from jobs.table.figures import QueueFigures
from jobs.table.outbox import OutboxCounts

QUEUE = ["queue", "model"]

_SENDERS = ("others", "table")
_OUTCOMES = {"sent": "told", "put_off": "later", "given_up": "given_up"}  # and what the table calls them
_PROTOCOL = ["protocol"]


def labels_of(queue: str) -> list[str]:
    """The values of a queue's labels."""
    return [queue, names.model_of(queue) or ""]


def of_messages(
    queues: Mapping[str, QueueFigures],
    held: Mapping[str, int],
    backlog: Sequence[ListBacklog],
    workers: Sequence[WorkerReport],
) -> Iterator[Metric]:
    """What others sent, and what stands in Celery's lists."""
    adopted = CounterMetricFamily(
        "imagemill_messages_adopted", "Messages from outside of which jobs were made.", labels=QUEUE
    )
    refused = CounterMetricFamily(
        "imagemill_messages_refused", "Messages from outside of which no job could be made.", labels=QUEUE
    )
    in_hand = GaugeMetricFamily(
        "imagemill_held_messages",
        "Messages from outside that a worker has taken, and that are no jobs yet.",
        labels=QUEUE,
    )
    for queue, each in queues.items():
        adopted.add_metric(labels_of(queue), each.adopted)
        refused.add_metric(labels_of(queue), each.refused)
        in_hand.add_metric(labels_of(queue), held.get(queue, 0))
    yield from (adopted, refused, in_hand)
    yield _backlog(
        "imagemill_broker_messages",
        "Messages in Celery's lists, sent by `others` or by the `table`.",
        queues,
        backlog,
    )
    yield _backlog(
        "imagemill_unread_messages",
        "Of these, those in lists that no worker receives from.",
        queues,
        nobody_takes(backlog, workers),
    )


def _backlog(name: str, text: str, queues: Mapping[str, QueueFigures], backlog: Sequence[ListBacklog]) -> Metric:
    counts: Counter[tuple[str, str]] = Counter()
    for each in backlog:
        counts[each.of_jobs, "table" if each.is_line else "others"] += each.messages
    family = GaugeMetricFamily(name, text, labels=[*QUEUE, "sender"])
    for queue in dict.fromkeys([*queues, *(each.of_jobs for each in backlog)]):
        for sender in _SENDERS:
            family.add_metric([*labels_of(queue), sender], counts[queue, sender])
    return family


def of_ends(ends: Mapping[str, OutboxCounts]) -> Iterator[Metric]:
    """Notifications of finished jobs."""
    waiting = GaugeMetricFamily(
        "imagemill_notifications_waiting", "Finished jobs whose notification is to be sent.", labels=_PROTOCOL
    )
    put_off = GaugeMetricFamily(
        "imagemill_notifications_put_off", "Of these, those whose notification failed and is retried.", labels=_PROTOCOL
    )
    given_up = GaugeMetricFamily(
        "imagemill_notifications_given_up", "Finished jobs whose notification failed and is given up.", labels=_PROTOCOL
    )
    oldest = GaugeMetricFamily(
        "imagemill_notifications_oldest_seconds",
        "Time since the end of the oldest job whose notification is still to be sent; 0 if there is none.",
        labels=_PROTOCOL,
    )
    attempts = CounterMetricFamily(
        "imagemill_notifications",
        "How often a notification was sent, put off or given up.",
        labels=[*_PROTOCOL, "outcome"],
    )
    for protocol, each in ends.items():
        waiting.add_metric([protocol], each.waiting)
        put_off.add_metric([protocol], each.put_off)
        given_up.add_metric([protocol], each.given_up)
        oldest.add_metric([protocol], each.oldest_s)
        for outcome, name in _OUTCOMES.items():
            attempts.add_metric([protocol, outcome], each.history.get(name, 0))
    yield from (waiting, put_off, given_up, oldest, attempts)
