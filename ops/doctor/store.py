"""
The image store: a small object goes the whole way that an image goes, and is deleted again.

Checks are called by the store that it is, "S3 write", and what it says of a failure is its own (`storage.advice`).
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from urllib.parse import urlsplit

from jobs.inputs.files import new_file_id
from ops.doctor.finding import CORRECT, Finding, State, attempt, attempt_all, unchecked
from ops.doctor.http import get
from storage.errors import NotSupported, ObjectNotFound, StorageError, StorageMisconfigured
from storage.keys import input_key, root_of
from storage.registry import chosen_backend, open_store
from storage.store import Store

_STORE = "image store"  # What it is called as long as it is not known which.
_CONTENT_TYPE = "application/octet-stream"
_SIZE_BYTES = 64 * 1024
_LINK_EXPIRY_S = 60
_ANSWER_S = 10.0


def check_store() -> list[Finding]:
    """All that is to be known of the store."""
    return attempt_all(_STORE, _check)


def _check() -> list[Finding]:
    checks = _Checks(chosen_backend())
    try:
        probe = _Probe(open_store(), checks)
    except StorageMisconfigured as exc:
        failed = Finding(check=checks.place, state=State.FAILURE, found=str(exc), advice=CORRECT)
        return [failed, *unchecked(checks.rest, f"{checks.label} cannot be reached")]
    place, is_usable = probe.look()
    if not is_usable:
        return [place, *unchecked(checks.rest, f"the {checks.noun} cannot be used")]
    written = probe.try_to(checks.write, probe.write)
    rest: dict[str, Callable[[], Finding]] = {
        checks.read: probe.read,
        checks.link: probe.fetch,
        checks.altered: probe.fetch_altered,
    }
    if written.state is not State.OK:
        return [place, written, *unchecked([*rest, checks.delete, checks.files], "nothing could be written")]
    seen = [probe.try_to(check, run) for check, run in rest.items()]
    return [
        place,
        written,
        *seen,
        probe.try_to(checks.delete, probe.delete),
        probe.try_to(checks.files, probe.look_at_files),
    ]


class _Checks:
    """What each check is called, of a store of some backend."""

    def __init__(self, backend: type[Store]) -> None:
        self.label, self.noun = backend.label, backend.place
        self.place = f"{self.label} {self.noun}"
        words = ("write", "read", "link", "altered link", "delete", "uploaded files")
        self.rest = [f"{self.label} {word}" for word in words]
        self.write, self.read, self.link, self.altered, self.delete, self.files = self.rest


class _Probe:
    """One object of random bytes, under a key that no job has."""

    def __init__(self, store: Store, checks: _Checks) -> None:
        self._store = store
        self._checks = checks
        self._body = secrets.token_bytes(_SIZE_BYTES)
        self._key = f"{root_of(store.settings.prefix)}doctor/{uuid.uuid4()}"

    def look(self) -> tuple[Finding, bool]:
        """The place, and whether it is worth trying to use it."""
        try:
            self._store.check()
        except StorageMisconfigured as exc:
            return self._ask_why(exc)
        except StorageError as exc:
            return self._failure(self._checks.place, exc), False
        return Finding(
            check=self._checks.place, state=State.OK, found=f"{self._store.where} in {self._store.name}"
        ), True

    def _ask_why(self, refusal: StorageError) -> tuple[Finding, bool]:
        # The answer to a HEAD has no body, and so no reason; the answer to a GET has.
        try:
            self._store.get(self._key)
        except ObjectNotFound:  # The keys are good, then.
            return self._failure(self._checks.place, refusal), True
        except StorageError as exc:
            return self._failure(self._checks.place, exc), False
        return self._failure(self._checks.place, refusal), True

    def _failure(self, check: str, exc: StorageError) -> Finding:
        found, advice = self._store.advice.explain(exc)
        return Finding(check=check, state=State.FAILURE, found=found, advice=advice)

    def try_to(self, check: str, run: Callable[[], Finding]) -> Finding:
        """Run one check; the store's refusal is explained."""

        def explained() -> Finding:
            try:
                return run()
            except StorageError as exc:
                return self._failure(check, exc)

        return attempt(check, explained)

    def write(self) -> Finding:
        """Store the object."""
        self._store.put(self._key, self._body, _CONTENT_TYPE)
        return Finding(check=self._checks.write, state=State.OK, found=f"{_SIZE_BYTES >> 10} KiB stored")

    def read(self) -> Finding:
        """Read it with the keys."""
        if self._store.get(self._key) != self._body:
            return _other_bytes(self._checks.read)
        return Finding(check=self._checks.read, state=State.OK, found="the bytes are the same")

    def fetch(self) -> Finding:
        """Read it as anybody who was given the link, without keys."""
        link = self._link()
        address = "{0.scheme}://{0.netloc}".format(urlsplit(link))
        if not _is_http(link):
            found = f"a link to {address} is not an HTTP address: it works only where the {self._checks.noun} is"
            return Finding(check=self._checks.link, state=State.INFORMATION, found=found)
        try:
            status, body = get(link, timeout_s=_ANSWER_S)
        except OSError as exc:
            return self._unreachable_link(address, exc)
        if status != 200:
            found = f"a fresh link to {address} is answered with {status}"
            advice = "A proxy in front of the store must not change host, path or query: they are signed."
            return Finding(check=self._checks.link, state=State.FAILURE, found=found, advice=advice)
        if body != self._body:
            return _other_bytes(self._checks.link)
        return Finding(check=self._checks.link, state=State.OK, found=f"a link to {address} returns the same bytes")

    def _unreachable_link(self, address: str, exc: OSError) -> Finding:
        may_answer, advice = self._store.advice.of_dead_links()
        state = State.WARNING if may_answer else State.FAILURE
        found = f"links lead to {address}, which does not answer: {exc}"
        return Finding(check=self._checks.link, state=state, found=found, advice=advice)

    def fetch_altered(self) -> Finding:
        """Try a link whose signature is wrong, and one without any."""
        link = self._link()
        try:
            forged = self._store.advice.alter(link)
            altered, bare = (get(each, timeout_s=_ANSWER_S)[0] for each in (forged, link.partition("?")[0]))
        except NotSupported as exc:
            return Finding(check=self._checks.altered, state=State.INFORMATION, found=str(exc))
        except OSError as exc:
            return Finding(check=self._checks.altered, state=State.UNCHECKED, found=f"links do not answer: {exc}")
        if altered < 400:
            found = f"a link with a wrong signature is answered with {altered}: the store does not check signatures"
            advice = "Turn on authentication in the store: now anyone who knows an image's key can read it."
            return Finding(check=self._checks.altered, state=State.FAILURE, found=found, advice=advice)
        if bare < 400:
            found = f"refused ({altered}), but anyone can read the object without a signature ({bare})"
            advice = "Turn off public reading in the store, unless images are meant to be public."
            return Finding(check=self._checks.altered, state=State.WARNING, found=found, advice=advice)
        return Finding(
            check=self._checks.altered,
            state=State.OK,
            found=f"refused ({altered}), and without a signature, too ({bare})",
        )

    def delete(self) -> Finding:
        """Take it away, and look whether it is gone."""
        self._store.delete(self._key)
        try:
            self._store.get(self._key)
        except ObjectNotFound:
            return Finding(check=self._checks.delete, state=State.OK, found="the object is gone")
        found = f"{self._key} still exists after it was deleted"
        return Finding(
            check=self._checks.delete,
            state=State.FAILURE,
            found=found,
            advice="Check the store's log; delete it by hand.",
        )

    def look_at_files(self) -> Finding:
        """Whether the store itself deletes uploaded files, for which jobs may wait."""
        try:
            days = self._store.expiry_days(input_key(self._store.settings.prefix, new_file_id()))
        except NotSupported:
            days = None
        except StorageMisconfigured as exc:  # Nothing else needs that right.
            return Finding(check=self._checks.files, state=State.UNCHECKED, found=f"its rules cannot be read: {exc}")
        if days is None:
            return Finding(check=self._checks.files, state=State.OK, found="no rule of the store deletes them")
        return Finding(
            check=self._checks.files,
            state=State.WARNING,
            found=f"a lifecycle rule deletes them after {days} days, also those that jobs wait for",
            advice="Run `./imagemill storage retention apply` again: its rule spares them. Narrow the others.",
        )

    def _link(self) -> str:
        return self._store.link(self._key, _CONTENT_TYPE, _LINK_EXPIRY_S)


def _is_http(link: str) -> bool:
    return urlsplit(link).scheme in ("http", "https")


def _other_bytes(check: str) -> Finding:
    advice = "Something between this machine and the store changes the data: check proxies and gateways."
    return Finding(
        check=check,
        state=State.FAILURE,
        found="the bytes that were read differ from those that were stored",
        advice=advice,
    )
