"""
The fields of a job's record, each once. Scripts write them by these names; `jobs.table.record` reads what others see.

Times are Unix seconds by Redis' clock, to the microsecond, as text. JSON is opaque to scripts, unless said otherwise.
"""

from __future__ import annotations

from typing import Final

FIELDS: Final = {
    # Of its submission.
    "kind": "of what kind it is; absent for the first one",
    "spec": "JSON: the specification, without what is at its default",
    "request": "JSON, in place of `spec`: what came from outside and was refused",
    "schema": "SCHEMA_VERSION of the process that wrote it",
    "queue": "whose name is that of a Celery queue",
    "caller": "whose turn it takes",
    "digest": "of the request's parameters",
    "origin": "`client` or `celery`",
    "created_at": "when it was submitted",
    "start_by": "when it is not worth starting any more",
    "end_by": "when it is not worth having any more",
    "not_before": "when it may begin, of one that was to wait",
    "time_limit": "seconds that it may run, from each claim on",
    "traceparent": "the W3C trace context that its spans are part of",
    "idempotency": "the key of Redis that leads from its idempotency key to it",
    "batch": "the batch that it is part of",
    "custom_id": "its caller's own name for it in there",
    "kept": "how many units of `KEPT_UNIT` it counts while it goes on; then its caller's set says it",
    "cost": "what a turn of it costs its caller; absent for 1",
    "tell": "names of the protocols that notify of its end, separated by spaces",
    # Of its way.
    "status": "a `Status`",
    "turn": "its priority's rank and its number: the score by which it is ordered",
    "moved": "nonce of the last change of its priority or its place, which gives the same answer again",
    "replayed_at": "when it was last queued again by a replay",
    "replay": "nonce of the last replay, which gives the same answer again",
    "next": "JSON, written by scripts: ids that its last step released; the answer to a repetition of that step",
    "overtaken": "JSON, written by scripts: token of the claim that gave its turn away, and the ids that it released",
    "unpaid": "1 where its turn cost its caller nothing, for nobody waited",
    "guesses": "how often its message was sent again though it may stand in a list too long to be read",
    "given_back": "token of the last attempt that gave it back",
    "cancel": "1 where a running job is asked to leave",
    "deliveries": "claims that were not given back",
    "attempts": "attempts that count: that began, and were not refunded",
    "epoch": "claims so far, of any kind",
    # Of the attempt that runs it.
    "owner": "who claimed it",
    "token": "of the claim; whatever is written under another is refused",
    "started_at": "when it was claimed",
    "run_by": "when it has run for as long as it may",
    "stage": "what its attempt does, by whatever name it calls that",
    "step": "of `steps`, where the stage has steps",
    "steps": "0 where it has none",
    "watched": "until when a client reads it: until then its progress is published as it happens",
    "unseen": "1 where no event has its stage and step",
    "sent": "token of the attempt that sent data last, and the number of that",
    # Of its end.
    "ended_at": "when",
    "posted": "`ended_at` of the end that is or was in the outbox, if a notification is wanted",
    "images": "JSON: the artifacts that are published; so called since pictures were all that there was",
    "data": "JSON: what it made that needs no object",
    "warnings": "JSON: sentences, of what its caller should know though it went well",
    "timings": "JSON: seconds for each stage",
    "error": "JSON: code and message; empty where there is none",
    # Of its result's deletion. `spec`, `request`, `data`, `warnings` and `images` are gone then, `error` has no text.
    "deletion": "`deleting`, and then `gone`",
    "deleted_at": "when that was asked for",
    "made": "how many images there were",
    "told": "names of the protocols that had notified of its end before, separated by spaces",
}

PREFIXES: Final = {
    "tell:": "and the name of a protocol: JSON of what that has to know",
    "charge:": "and the token of an attempt that counts: 1, until it is refunded",
}
