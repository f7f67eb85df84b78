"""Sees the jobs of a file through: submits them, follows all of them, and saves their pictures."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.errors import ImagemillError
from jobs.table.states import Status
from jobs.view import JobView, view_of
from producer.cli.results.made import add_links, artifact_name
from producer.cli.results.saving import saving
from producer.cli.submission.prompt_file import PromptLine
from producer.client.image import Artifact, Image, artifacts_of, images_of
from producer.client.parts import Parts

_AT_ONCE = 500  # Jobs of one round trip.
_LOOK_EVERY_S = 0.5
_DOWNLOADS = 8
_GO_ON = (Status.QUEUED, Status.PROCESSING)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """
    A line that is done with.

    Attributes:
        record: Of its job at the end; None where it never became one, or its record is gone.
        refused: Why it never became one.
        saved: Its pictures, and what else it made.
    """

    prompt: PromptLine
    record: JobView | None = None
    refused: ImagemillError | None = None
    saved: tuple[str, ...] = ()

    @property
    def has_succeeded(self) -> bool:
        return self.record is not None and self.record.status is Status.SUCCEEDED


class FileRun:
    """
    The jobs of one file.

    Attributes:
        job_ids: Of the lines that were submitted so far, in their order; None for a line that was refused.
        warnings: What there is to say of lines that were taken, each once; None where there is nothing.
    """

    def __init__(self, parts: Parts, prompts: Sequence[PromptLine], out: Path | None) -> None:
        self._parts = parts
        self._prompts = prompts
        self._out = out
        self._digits = len(str(prompts[-1].line))
        self._refused: list[Ended] = []
        self.warnings: dict[str | None, None] = {}
        self.job_ids: list[str | None] = []

    def submit(self) -> Iterator[int]:
        """
        Submit all lines; yields after each few hundred how many those were.

        Raises:
            RedisFull, RedisUnavailable: Submitting again is safe.
        """
        for at in range(0, len(self._prompts), _AT_ONCE):
            some = self._prompts[at : at + _AT_ONCE]
            answers = self._parts.submitter.enter_many([each.submission for each in some])
            for prompt, entered in zip(some, answers, strict=True):
                self.job_ids.append(None if entered.refused else entered.job_id)
                if entered.refused:
                    self._refused.append(Ended(prompt=prompt, refused=entered.refused))
            self.warnings |= dict.fromkeys(self._parts.submitter.warning(each.submission) for each in some)
            yield len(some)

    def follow(self, timeout_s: float | None = None) -> Iterator[list[Ended]]:
        """
        Yield lines as they end, about twice a second, until all have; earlier when `timeout_s` has passed.

        Few are looked at each time: the first that go on, for jobs end about in their order, and others in turn.

        Raises:
            InvalidRequest: A picture cannot be saved.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pending = {(n, job_id): self._prompts[n] for n, job_id in enumerate(self.job_ids) if job_id is not None}
        yield self._refused
        turn = 0
        with ThreadPoolExecutor(_DOWNLOADS, "download") as pool:
            try:
                while pending:
                    keys = list(pending)
                    turn = turn + _AT_ONCE if turn + _AT_ONCE < len(keys) else _AT_ONCE
                    looked_at = keys[:_AT_ONCE] + keys[turn : turn + _AT_ONCE]
                    ended = self._look(looked_at)
                    yield list(pool.map(self._end, [pending.pop(key) for key in ended], ended.values()))
                    if deadline is not None and time.monotonic() > deadline:
                        return
                    if pending and len(ended) < len(looked_at):
                        time.sleep(_LOOK_EVERY_S)
            finally:
                pool.shutdown(cancel_futures=True)

    def describe(self, ended: Ended) -> dict[str, Any]:
        """A line that is done with, for a script."""
        fields: dict[str, Any] = {"line": ended.prompt.line, "custom_id": ended.prompt.custom_id}
        if ended.refused is not None:
            return fields | {"error": {"code": type(ended.refused).__name__, "message": str(ended.refused)}}
        if ended.record is None:
            return fields
        description = ended.record.model_dump(mode="json", exclude_none=True)
        if ended.has_succeeded:
            store = self._parts.store
            add_links(description, images_of(ended.record, store), artifacts_of(ended.record, store))
        return fields | description | ({"saved": list(ended.saved)} if ended.saved else {})

    def _look(self, keys: list[tuple[int, str]]) -> dict[tuple[int, str], JobView | None]:
        """Those that have ended; None for one whose record is gone."""
        statuses = self._parts.table.statuses([job_id for _, job_id in keys])
        # The record explains a status that only a newer version knows.
        over = [key for key, status in zip(keys, statuses, strict=True) if status not in _GO_ON]
        records = {record.id: view_of(record) for record in self._parts.table.get_many([job_id for _, job_id in over])}
        found = {key: records.get(key[1]) for key in over}
        return {key: record for key, record in found.items() if record is None or record.has_ended}

    def _end(self, prompt: PromptLine, record: JobView | None) -> Ended:
        saved: list[str] = []
        if self._out is not None and record is not None and record.status is Status.SUCCEEDED:
            images = images_of(record, self._parts.store)
            for index, image in enumerate(images):
                part = f"-{index}" if len(images) > 1 else ""
                suffix = Path(image.record.key).suffix
                saved.append(str(_save(image, self._out / f"{self._name(prompt)}{part}{suffix}")))
            for index, artifact in enumerate(artifacts_of(record, self._parts.store)):
                saved.append(str(_save(artifact, self._out / artifact_name(self._name(prompt), index, artifact))))
        return Ended(prompt=prompt, record=record, saved=tuple(saved))

    def _name(self, prompt: PromptLine) -> str:
        number = f"{prompt.line:0{self._digits}d}"
        own = _UNSAFE.sub("_", prompt.custom_id or "").strip("._")[:100]
        return f"{number}-{own}" if own else number


def _save(image: Image | Artifact, path: Path) -> Path:
    """Skip a file that exists; write a file whole or not at all, because an existing file counts as complete."""
    part = path.with_name(path.name + ".part")
    with saving(path):
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == image.record.sha256:
            return path
        image.save(part)
        return part.replace(path)
