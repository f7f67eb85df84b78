"""
A file of prompts: JSON lines, each a job with an optional `custom_id`; or, named .txt, a prompt in each line.

Every line gets an idempotency key from what it says, so that a file that is submitted again, whole or with lines added
or mended, gets the jobs that are there already, and new ones only for what is new.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.errors import InvalidRequest
from jobs.table.submission import Submission
from producer.client.submitter import Submitter

_SHOWN_ERRORS = 10
_PLAIN = ".txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptLine:
    """
    A line that is a job.

    Attributes:
        line: In the file, from 1.
    """

    line: int
    custom_id: str | None
    submission: Submission


def read_prompts(submitter: Submitter, file: Path, given: Mapping[str, Any], run: str = "") -> list[PromptLine]:
    """
    Read and check a file; nothing is submitted.

    Args:
        given: Fields for all lines; a line's own come first.
        run: Part of each key: the same lines under another name are other jobs.

    Raises:
        InvalidRequest: The file cannot be read, has no prompts, or has wrong lines; the first of them are named.
    """
    prompts: list[PromptLine] = []
    errors: list[str] = []
    seen: Counter[str] = Counter()
    for line, text in _lines(file):
        try:
            fields = _fields(text, file.suffix.lower() == _PLAIN)
            custom_id = _custom_id(fields)
            fields = {**given, **fields}
            fields.setdefault("idempotency_key", _key(run, fields, custom_id, seen))
            submission = submitter.hold(submitter.prepare(submitter.find_inputs(fields)))
        except InvalidRequest as exc:
            errors.append(f"line {line}: {exc}")
            continue
        prompts.append(PromptLine(line=line, custom_id=custom_id, submission=submission))
    if errors:
        more = f"\n… and {len(errors) - _SHOWN_ERRORS} more" if len(errors) > _SHOWN_ERRORS else ""
        raise InvalidRequest("file", "nothing was submitted\n" + "\n".join(errors[:_SHOWN_ERRORS]) + more)
    if not prompts:
        raise InvalidRequest("file", f"{file} has no prompts")
    return prompts


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        with file.open(encoding="utf-8-sig") as opened:
            for line, text in enumerate(opened, 1):
                if text.strip():
                    yield line, text.strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidRequest("file", f"{file} cannot be read: {exc}") from exc


def _fields(text: str, is_plain: bool) -> dict[str, Any]:
    if is_plain:
        return {"prompt": text}
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidRequest(
            "request", f"is not valid JSON: {exc}; a file of plain prompts must be named .txt"
        ) from exc
    if not isinstance(fields, dict):
        raise InvalidRequest("request", "must be a JSON object")
    return fields


def _custom_id(fields: dict[str, Any]) -> str | None:
    custom_id = fields.pop("custom_id", None)
    if custom_id is not None and not isinstance(custom_id, str):
        raise InvalidRequest("custom_id", "must be a string")
    return custom_id


def _key(run: str, fields: dict[str, Any], custom_id: str | None, seen: Counter[str]) -> str:
    said = json.dumps([run, fields, custom_id], sort_keys=True)
    seen[said] += 1  # The same line twice is two jobs.
    return "file-" + hashlib.sha256(f"{said} {seen[said]}".encode("utf-8", "surrogatepass")).hexdigest()[:40]
