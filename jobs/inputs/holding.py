"""
Files that come with jobs: what is sent along becomes one, and stays as long as its job needs it.

What is sent along is kept when its job is about to be written and no earlier, so that a request which is refused leaves
nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pydantic import PrivateAttr

from jobs.errors import FileNotFound, FilesTooLarge, InvalidRequest
from jobs.inputs.files import File, Files, new_file_id
from jobs.inputs.heads import PictureRefused, head_of
from jobs.inputs.stored import InputStore, StoredFiles, file_of
from jobs.kinds.inputs import Input, replaced
from jobs.kinds.registry import KINDS
from jobs.table.submission import Submission

SENT, FETCHED = "input", "input_url"  # purposes of files that came with a job
KEPT_S = 24 * 3600.0  # of such a file; longer where a job needs it
FETCHED_S = 600.0  # of one that was fetched, until its job is written: it may never be

_TRIES = 3  # to keep what goes each time


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """
    Who makes a request, and what that one may.

    Attributes:
        scope, owner, max_mib: Arguments of `Finder.find`.
        fetches_until: Until when URLs are fetched for this one; in seconds, monotonic.
    """

    scope: str | None
    owner: str
    max_mib: int | None
    fetches_until: float


class _Sent(Input):
    """
    What came with a request, and is no file yet, though it has the id of one.

    Attributes:
        _keep: Makes it one. Its bytes are here as long as this is.
    """

    _keep: Callable[[], Input] = PrivateAttr()


class _Came(Input):
    """
    A file that came with a request.

    Attributes:
        _is_new: Its caller did not have it before.
    """

    _is_new: bool = PrivateAttr()


class Holder:
    """Keeps what requests bring and name. All of it may raise `RedisUnavailable`, and the store's own errors."""

    def __init__(self, files: Files, in_store: InputStore) -> None:
        self._files = files
        self._stored = StoredFiles(files, in_store)

    def sent(self, data: bytes, requester: Requester) -> Input:
        """A picture that came along, for `hold`. Raises `PictureRefused`."""
        sent = _Sent(**dict(input_of(_file_of(data, SENT, requester))))
        sent._keep = lambda: self._keep(data, SENT, requester, KEPT_S)
        return sent

    def fetched(self, data: bytes, requester: Requester) -> Input:
        """
        A picture from another host, as a file of its owner: a process that held those of all requests in hand, until
        their jobs are written, would need memory for them. Where `hold` does not come, it goes after `FETCHED_S`.

        Raises:
            PictureRefused
            FilesTooLarge: The owner has no room for it.
            RedisFull
        """
        return self._keep(data, FETCHED, requester, FETCHED_S)

    def _keep(self, data: bytes, purpose: str, requester: Requester, kept_s: float) -> Input:
        """A file of its owner, unless there is the same one already, which then stays for no less."""
        file = _file_of(data, purpose, requester, kept_s)
        kept = self._stored.add(file, data, requester.max_mib)
        came = _Came(**dict(input_of(kept)))
        came._is_new = kept.id == file.id
        return came

    def hold(self, submission: Submission) -> Submission:
        """
        Have the files of a job kept that is about to be written. Repeating it, for what this gives, changes nothing.

        Returns:
            The submission that is to be written, or else given up.

        Raises:
            InvalidRequest: One of them has gone since it was found; none is held then.
            FilesTooLarge: The owner has no room for what was sent along; likewise.
            RedisFull
        """
        kind, spec = KINDS[submission.kind], submission.spec
        if not (named := kind.inputs(spec)):
            return submission
        held: list[Input] = []

        def hold(each: Input) -> Input:
            held.append(self._hold(each, submission.job_id))
            return held[-1]

        try:
            found = {field: replaced(getattr(spec, field), hold) for field in kind.input_fields}
        except FileNotFound as exc:
            self._give_up(held, submission.job_id)
            raise InvalidRequest(list(named)[len(held)], str(exc)) from exc
        except FilesTooLarge:
            self._give_up(held, submission.job_id)
            raise
        spec = spec.model_copy(update=found)
        return replace(submission, spec=spec, files=kind.files(spec))

    def give_up(self, submission: Submission) -> None:
        """A job is never written: what is held for it is free again, and what came with it alone goes."""
        self._give_up(list(KINDS[submission.kind].inputs(submission.spec).values()), submission.job_id)

    def _hold(self, each: Input, job_id: str) -> Input:
        """The file of the same bytes that its caller had may go before it is held: with the result of its own job."""
        for _ in range(_TRIES - 1):
            try:
                return self._held(each, job_id)
            except FileNotFound:
                if not isinstance(each, _Sent):
                    raise
        return self._held(each, job_id)

    def _held(self, each: Input, job_id: str) -> Input:
        kept = each._keep() if isinstance(each, _Sent) else each
        if kept.file is not None:
            self._files.use(kept.file, job_id, KEPT_S if isinstance(kept, _Came) else 0.0)
        return kept

    def _give_up(self, inputs: Sequence[Input], job_id: str) -> None:
        held = [each for each in inputs if not isinstance(each, _Sent)]
        for each in held:
            if each.file is not None:
                self._files.let(each.file, job_id)
        for each in held:
            if each.file is not None and isinstance(each, _Came) and each._is_new:
                self._stored.delete(each.file)


def _file_of(data: bytes, purpose: str, requester: Requester, kept_s: float = KEPT_S) -> File:
    head = head_of(data)
    return file_of(
        head,
        file_id=new_file_id(),
        caller=requester.owner,
        filename=f"{purpose}.{head.content_type.removeprefix('image/')}",
        purpose=purpose,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        kept_s=kept_s,
    )


def input_of(file: File) -> Input:
    """What a specification keeps of a file. Raises `PictureRefused` for one that is no picture."""
    if file.width is None or file.height is None:
        raise PictureRefused(f"file {file.id} is no picture")
    return Input(file=file.id, bytes=file.size_bytes, sha256=file.sha256, width=file.width, height=file.height)
