"""The lines of a batch on their way into the job table: a few hundred at a time, each with an answer of its own."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from jobs.errors import ImagemillError, InvalidRequest, RedisFull, RedisUnavailable
from jobs.table.submission import BatchLine, Submission
from producer.api.context import Context
from producer.api.http.errors import Problem, log_kept_back, problem_of
from producer.api.jobs.submissions import prepare
from producer.api.keys.callers import Caller
from storage.errors import StorageError

MAX_ITEM_BYTES = 1 << 20  # Two prompts and sixteen tags at their longest, each character escaped, are shorter.
KEY_CHARS = 240  # Of an idempotency key: the line's number comes behind it.

LINE_BYTES = 8_192  # What an answer may have: a name and an error at their longest, each character escaped.

_CUSTOM_ID_CHARS = 255
_BATCHES = uuid.UUID("6f2c6d1e-54a5-4f0b-9a0a-3c8c6f1d2b7e")  # Only its difference from other namespaces matters.


@dataclass(frozen=True, slots=True, kw_only=True)
class LineAnswer:
    """
    What became of a line: the job's id, or why there is none; and what its sender should know nevertheless.

    It keeps no exception: the frames of one have the whole line, and these answers, so that each would keep the other.
    """

    line: int
    custom_id: str | None = None
    job_id: str | None = None
    problem: Problem | None = None
    warning: str | None = None

    def encoded(self) -> bytes:
        """As a line of JSON."""
        error = self.problem.content() if self.problem else {"error": None}
        warned = {"warnings": [self.warning]} if self.warning else {}
        answer = {"line": self.line, "custom_id": self.custom_id, "id": self.job_id, **error, **warned}
        return orjson.dumps(answer) + b"\n"


class Bulk:
    """
    One request's batch.

    Attributes:
        batch_id: The same again, where the request has an idempotency key that its caller used before.
        count: How many lines there were so far.
        caller: Whose it is, with what he may at the moment.
    """

    def __init__(
        self, context: Context, caller: Caller, idempotency_key: str | None = None, traceparent: str | None = None
    ) -> None:
        if idempotency_key is not None and not 1 <= len(idempotency_key) <= KEY_CHARS:
            raise InvalidRequest("Idempotency-Key", f"must have 1 to {KEY_CHARS} characters for a batch")
        self._context = context
        self.caller = caller
        self._key = idempotency_key
        self._traceparent = traceparent
        named = f"{caller.name}\n{idempotency_key}"
        self.batch_id = str(uuid.uuid4() if idempotency_key is None else uuid.uuid5(_BATCHES, named))
        self.count = 0
        self._away: Problem | None = None

    def submit(self, items: Sequence[bytes | None]) -> list[LineAnswer]:
        """
        Queue what can be queued. Blocks; what is wrong with a line stands in its answer alone.

        When Redis is full or away, nothing more is tried: what comes is refused for the same reason.
        """
        answers: dict[int, LineAnswer] = {}
        prepared: list[tuple[int, Submission]] = []
        for item in items:
            self.count += 1
            result = self._prepare(self.count, item)
            if isinstance(result, LineAnswer):
                answers[self.count] = result
            else:
                prepared.append((self.count, result))
        for answer in self._enter(prepared):
            answers[answer.line] = answer
        refused = [line for line, answer in answers.items() if answer.job_id is None]
        if refused and self._away is None:
            self._note(refused)
        return [answers[line] for line in sorted(answers)]

    def open(self) -> None:
        """Begin the batch. Raises `RedisFull` or `RedisUnavailable`: there are no answers yet that could report it."""
        self._context.parts.batches.open(self.batch_id, self.caller.name)

    def _note(self, refused: list[int]) -> None:
        try:
            self._context.parts.batches.open(self.batch_id, self.caller.name, refused)
        except (RedisFull, RedisUnavailable) as exc:
            self._stop(exc)

    def _stop(self, exc: RedisFull | RedisUnavailable) -> None:
        """Try nothing more. The log has the reason once, not with each line that is refused for it."""
        self._away = problem_of(exc)
        log_kept_back(exc, self._away)

    def _prepare(self, line: int, item: bytes | None) -> Submission | LineAnswer:
        custom_id: str | None = None
        try:
            fields = _object(item)
            custom_id = _custom_id(fields)
            key = f"{self._key}:{line}" if self._key is not None and "idempotency_key" not in fields else None
            signed = self.caller.sign(fields)
            submitter = self._context.parts.submitter
            found = submitter.find_inputs(signed, self.caller.scope, self.caller.max_file_mib)
            submission = submitter.hold(prepare(found, self.caller, self._context, key, self._traceparent))
        except (ImagemillError, StorageError) as exc:
            return LineAnswer(line=line, custom_id=custom_id, problem=problem_of(exc))
        return replace(submission, batch=BatchLine(batch_id=self.batch_id, line=line, custom_id=custom_id))

    def _enter(self, prepared: list[tuple[int, Submission]]) -> list[LineAnswer]:
        submissions = [submission for _, submission in prepared]
        names = [(line, each.batch.custom_id if each.batch else None) for line, each in prepared]
        if prepared and self._away is None:
            try:
                entered = self._context.parts.submitter.enter_many(submissions)
            except (RedisFull, RedisUnavailable) as exc:
                self._stop(exc)
            else:
                if full := next((each.refused for each in entered if isinstance(each.refused, RedisFull)), None):
                    self._stop(full)
                warnings = [self._context.parts.submitter.warning(each) for each in submissions]
                self._context.parts.submitter.log_warnings(dict.fromkeys(warnings))
                return [
                    LineAnswer(line=line, custom_id=name, problem=problem_of(each.refused))
                    if each.refused
                    else LineAnswer(line=line, custom_id=name, job_id=each.job_id, warning=warning)
                    for (line, name), each, warning in zip(names, entered, warnings, strict=True)
                ]
        return [LineAnswer(line=line, custom_id=name, problem=self._away) for line, name in names]


def _object(item: bytes | None) -> dict[str, Any]:
    if item is None:
        raise InvalidRequest("request", f"is longer than {MAX_ITEM_BYTES} bytes")
    try:
        fields = orjson.loads(item)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequest("request", f"is not valid JSON: {exc.msg} (column {exc.colno})") from exc
    if not isinstance(fields, dict):
        raise InvalidRequest("request", "must be a JSON object")
    return fields


def _custom_id(fields: dict[str, Any]) -> str | None:
    custom_id = fields.pop("custom_id", None)
    if custom_id is None:
        return None
    if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= _CUSTOM_ID_CHARS:
        raise InvalidRequest("custom_id", f"must be a string of 1 to {_CUSTOM_ID_CHARS} characters")
    return custom_id
