"""
The way of a request into the job table, for the Python client, HTTP and the command line: prepare, enter, entered.

What is written stays so: `offer`, which sends the messages of released jobs behind it, never raises.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Hashable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import structlog
from cachetools import TTLCache, cachedmethod

from jobs.catalogue.catalogue import Catalogue
from jobs.envelope import DEFAULT_CALLER
from jobs.errors import FilesTooLarge, ImagemillError, InvalidRequest, NotServed, RedisFull, RedisUnavailable
from jobs.fleet.serving import Serving
from jobs.inputs.find import Finder, names_inputs
from jobs.kinds.registry import parse_request, settle
from jobs.submit import submission_of
from jobs.table.record import JobRecord
from jobs.table.submission import Encoded, Submission, Submitted, as_written
from jobs.table.table import JobTable, Offer
from producer.client.many import write_all
from producer.client.traces import SubmitTraces
from storage.errors import StorageError

log = structlog.get_logger()

_SAY_EVERY_S = 60.0
_MOST_SAID = 1_000  # Sentences that are remembered; there are as many as models.


class Submitter:
    """Checks requests and writes their jobs; safe to use from many threads."""

    def __init__(
        self,
        catalogue: Catalogue,
        table: JobTable,
        offer: Offer,
        traces: SubmitTraces,
        serving: Serving,
        finder: Finder,
    ) -> None:
        self._catalogue = catalogue
        self._table = table
        self._offer = offer
        self._traces = traces
        self._serving = serving
        self._finder = finder
        self._said: TTLCache[Hashable, None] = TTLCache(_MOST_SAID, ttl=_SAY_EVERY_S)
        self._saying = threading.Lock()

    def find_inputs(
        self, fields: Mapping[str, Any], scope: str | None = None, max_file_mib: int | None = None
    ) -> Mapping[str, Any]:
        """
        The fields of a request, with the objects that they name found: what `prepare` takes. Asks Redis and the store.

        Args:
            scope: Whose files and jobs may be named; None for everybody's.
            max_file_mib: How much the caller's files may take; None for what the settings say.

        Raises:
            InvalidRequest: By the field's name, what is wrong with it.
            FilesTooLarge: The caller has no room for what is fetched.
            RedisUnavailable, StorageUnavailable, StorageMisconfigured
        """
        if not names_inputs(fields):
            return fields
        owner = fields.get("caller")
        owner = owner if isinstance(owner, str) else DEFAULT_CALLER
        return self._finder.find(fields, scope=scope, owner=owner, max_mib=max_file_mib)

    def prepare(
        self,
        fields: Mapping[str, Any],
        quota: int | None = None,
        traceparent: str | None = None,
        weight: float = 1.0,
        max_kept_mib: int | None = None,
    ) -> Submission:
        """
        Check a request and settle its parameters, without asking Redis.

        Args:
            fields: Those of its kind's request; `jobs.kinds` has them.
            quota: How many queued jobs its caller may have, this one included.
            traceparent: W3C trace context that the job is to be part of; ignored where it is malformed.
            weight: How much of the device its caller gets, where others get 1.
            max_kept_mib: How much of Redis its caller's jobs may take; None for what the settings say.

        Raises:
            InvalidRequest: A field is wrong; or names an object, and was not given to `find_inputs`.
        """
        request = parse_request(dict(fields))
        spec = settle(request, self._catalogue)
        job_id = str(uuid.uuid4())
        limits: dict[str, Any] = {"quota": quota, "weight": weight, "max_kept_mib": max_kept_mib}
        submission = submission_of(request, spec, self._catalogue, job_id=job_id, **limits)
        return self._traces.begin(submission, traceparent)

    def hold(self, submission: Submission) -> Submission:
        """
        Keep what a prepared job brings, for `enter`, which does it otherwise; it waits for the store.

        Returns:
            What is to be entered, within an hour.

        Raises:
            InvalidRequest: A file that it names has gone.
            FilesTooLarge: Its caller has no room for what is sent along.
            RedisFull, RedisUnavailable, StorageUnavailable, StorageMisconfigured
        """
        return self._finder.holder.hold(submission)

    def enter(self, submission: Submission) -> str:
        """
        Write a prepared job, and send what is released. A message that cannot be sent is the reconciler's to send.

        Returns:
            The job's id: the first job's, where the idempotency key was used before.

        Raises:
            IdempotencyConflict, QuotaExceeded, RedisFull, RedisUnavailable: As `JobTable.submit` does.
            NotServed: No worker would run it, and the settings say that it is refused then.
            Whatever `hold` raises
        """
        submitted = self.enter_many([submission])[0]
        if submitted.refused:
            raise submitted.refused
        return submitted.job_id

    def check_served(self, submission: Submission) -> None:
        """Raises `NotServed` where `enter` would; as far as is known now."""
        if (refusal := self._serving.refusal(submission.queue)) is not None:
            raise refusal

    def warning(self, submission: Submission) -> str | None:
        """A warning for the submitter of an accepted job, if any: no worker serves its model."""
        return self._serving.warning(submission.queue)

    def entered(self, submission: Submission, job_id: str) -> JobRecord:
        """
        The record of a job that `enter` has just written: as it was written, where Redis cannot be asked for it now.

        Raises:
            RedisUnavailable: It is the record of an earlier job with the same idempotency key.
        """
        try:
            return self._table.get(job_id)
        except RedisUnavailable:
            if job_id != submission.job_id:
                raise
            return as_written(submission)

    def enter_many(self, submissions: Sequence[Submission]) -> list[Submitted]:
        """
        `enter` for many, in one round trip. Why one is refused stands in the answer, beside the others'.

        Raises:
            RedisFull, RedisUnavailable: As `JobTable.submit_many` does.
            StorageUnavailable, StorageMisconfigured: What is sent along cannot be kept; nothing was written.
        """
        held = [self._held(each) for each in submissions]
        taken = {each.job_id: each for each in held if isinstance(each, Submission)}
        written = iter(self._write([self._table.encode(each) for each in taken.values()], taken) if taken else ())
        return [
            next(written) if isinstance(each, Submission) else self._refuse(submission, each)
            for submission, each in zip(submissions, held, strict=True)
        ]

    def submit(self, request: Mapping[str, Any]) -> str:
        """Prepare and enter one job; its id. What there is to warn of is in the log. Raises as both do."""
        submission = self.prepare(self.find_inputs(request))
        job_id = self.enter(submission)
        self.log_warnings([self.warning(submission)])
        return job_id

    def submit_many(self, requests: Iterable[Mapping[str, Any]]) -> list[str]:
        """
        Prepare and enter any number, a few hundred per round trip, and held as text until then: see `Encoded`.

        All are checked before the first is queued.

        Returns:
            The jobs' ids, in the order of their requests.

        Raises:
            InvalidRequest, NotServed: With a note that names the request by its index; nothing was queued.
            PartlySubmitted, IdempotencyConflict, RedisFull, RedisUnavailable: As `write_all` does.
        """
        submissions: list[Encoded] = []
        held: dict[str, Submission] = {}  # by job, those that have files
        warnings: dict[str, str | None] = {}  # by queue
        for index, request in enumerate(requests):
            try:
                submission = self.prepare(self.find_inputs(request))
                if (refusal := self._serving.refusal(submission.queue)) is not None:
                    self._refuse(submission, refusal)
                    raise refusal
                if submission.queue not in warnings:
                    warnings[submission.queue] = self.warning(submission)
                submission = self.hold(submission)
                if submission.files:
                    held[submission.job_id] = submission
                submissions.append(self._table.encode(submission))
            except (InvalidRequest, NotServed) as exc:
                exc.add_note(f"in request {index}")
                self._give_up(held.values())
                raise
        self.log_warnings(warnings.values())
        return write_all(submissions, lambda some: self._write(some, held))

    def log_warnings(self, warnings: Iterable[str | None]) -> None:
        """Log the warnings that submitters get, each sentence at most once a minute."""
        for each in warnings:
            if each is not None:
                self._say(each)

    @cachedmethod(attrgetter("_said"), lock=attrgetter("_saying"))
    def _say(self, sentence: str) -> None:  # Which does nothing as long as it is remembered.
        log.warning(sentence)

    def _held(self, submission: Submission) -> Submission | NotServed | InvalidRequest | FilesTooLarge:
        """What is to be written, and whose files are kept from now on; or why it is not."""
        if (refusal := self._serving.refusal(submission.queue)) is not None:
            self._give_up([submission])
            return refusal
        try:
            return self.hold(submission)
        except (InvalidRequest, FilesTooLarge) as exc:
            return exc

    def _give_up(self, submissions: Iterable[Submission]) -> None:
        """They are not written. What cannot be cleared away now goes when it expires."""
        for each in submissions:
            try:
                self._finder.holder.give_up(each)
            except (ImagemillError, StorageError) as exc:
                log.warning("what came with a refused request is not cleared away yet", reason=str(exc))

    def _refuse(self, submission: Submission, reason: NotServed | InvalidRequest | FilesTooLarge) -> Submitted:
        refused = Submitted(job_id=submission.job_id, released=[], refused=reason)
        self._traces.end([submission.job_id], [refused])
        return refused

    def _write(self, submissions: Sequence[Encoded], held: Mapping[str, Submission]) -> list[Submitted]:
        """`held` are those, by job, of which files are held: where they are not written, they are given up."""
        try:
            submitted = self._table.submit_encoded(submissions)
        except RedisFull:  # Of other errors it is not known whether something was written.
            self._give_up(held[job_id] for job_id, _ in submissions if job_id in held)
            raise
        written = {each.job_id for each in submitted if not each.refused}
        self._give_up(held[job_id] for job_id, _ in submissions if job_id in held and job_id not in written)
        self._traces.end([each[0] for each in submissions], submitted)
        self._offer([job_id for each in submitted for job_id in each.released])
        return submitted
