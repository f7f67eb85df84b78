"""The image store: a small object goes the whole way that an image goes, and is deleted again."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from ops.doctor.finding import CORRECT, Finding, State, attempt, attempt_all, unchecked
from ops.doctor.http import get
from ops.doctor.s3_refusals import explain
from storage.errors import ObjectNotFound, StorageError, StorageMisconfigured
from storage.s3 import ImageStore
from storage.settings import load_storage_settings

BUCKET, WRITE, READ = "S3 bucket", "S3 write", "S3 read"
LINK, ALTERED, DELETE = "S3 link", "S3 altered link", "S3 delete"

_CONTENT_TYPE = "application/octet-stream"
_SIZE_BYTES = 64 * 1024
_LINK_EXPIRY_S = 60
_ANSWER_S = 10.0
_SIGNATURE = "X-Amz-Signature"


def check_s3() -> list[Finding]:
    """All that is to be known of the store."""
    return attempt_all(BUCKET, _check)


def _check() -> list[Finding]:
    try:
        store = ImageStore(load_storage_settings())
    except StorageMisconfigured as exc:
        failed = Finding(check=BUCKET, state=State.FAILURE, found=str(exc), advice=CORRECT)
        return [failed, *unchecked([WRITE, READ, LINK, ALTERED, DELETE], "S3 cannot be asked")]
    probe = _Probe(store)
    bucket, is_usable = probe.look()
    if not is_usable:
        return [bucket, *unchecked([WRITE, READ, LINK, ALTERED, DELETE], "the bucket cannot be used")]
    written = probe.try_to(WRITE, probe.write)
    rest: dict[str, Callable[[], Finding]] = {READ: probe.read, LINK: probe.fetch, ALTERED: probe.fetch_altered}
    if written.state is not State.OK:
        return [bucket, written, *unchecked([*rest, DELETE], "nothing could be written")]
    seen = [probe.try_to(check, run) for check, run in rest.items()]
    return [bucket, written, *seen, probe.try_to(DELETE, probe.delete)]


class _Probe:
    """One object of random bytes, under a key that no job has."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._body = secrets.token_bytes(_SIZE_BYTES)
        folder = store.settings.prefix.strip("/")
        self._key = f"{folder}/doctor/{uuid.uuid4()}".lstrip("/")
        self._where = f"{store.settings.bucket} at {store.settings.endpoint_url or 'Amazon'}"

    def look(self) -> tuple[Finding, bool]:
        """The bucket, and whether it is worth trying to use it."""
        try:
            self._store.check()
        except StorageMisconfigured as exc:
            return self._ask_why(exc)
        except StorageError as exc:
            return self._failure(BUCKET, exc), False
        return Finding(check=BUCKET, state=State.OK, found=self._where), True

    def _ask_why(self, refusal: StorageError) -> tuple[Finding, bool]:
        # The answer to a HEAD has no body, and so no reason; the answer to a GET has.
        try:
            self._store.get(self._key)
        except ObjectNotFound:  # The keys are good, then.
            return self._failure(BUCKET, refusal), True
        except StorageError as exc:
            return self._failure(BUCKET, exc), False
        return self._failure(BUCKET, refusal), True

    def _failure(self, check: str, exc: StorageError) -> Finding:
        found, advice = explain(exc, self._store.settings)
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
        return Finding(check=WRITE, state=State.OK, found=f"{_SIZE_BYTES >> 10} KiB stored")

    def read(self) -> Finding:
        """Read it with the keys."""
        if self._store.get(self._key) != self._body:
            return _other_bytes(READ)
        return Finding(check=READ, state=State.OK, found="the same bytes came back")

    def fetch(self) -> Finding:
        """Read it as anybody who was given the link, without keys."""
        link = self._link()
        address = "{0.scheme}://{0.netloc}".format(urlsplit(link))
        try:
            status, body = get(link, timeout_s=_ANSWER_S)
        except OSError as exc:
            return self._unreachable_link(address, exc)
        if status != 200:
            found = f"a fresh link to {address} is answered with {status}"
            advice = "Let a proxy in front of the store pass host, path and query on as they are: they are signed."
            return Finding(check=LINK, state=State.FAILURE, found=found, advice=advice)
        if body != self._body:
            return _other_bytes(LINK)
        return Finding(check=LINK, state=State.OK, found=f"a link to {address} gives the same bytes")

    def _unreachable_link(self, address: str, exc: OSError) -> Finding:
        public = bool(self._store.settings.public_endpoint_url)
        name = "IMAGEMILL_S3_PUBLIC_ENDPOINT_URL"
        advice = f"Set {name} to an address of the store that callers reach."
        if public:
            advice = f"Check {name}. If callers reach it and this machine alone does not, all is well."
        state = State.WARNING if public else State.FAILURE
        return Finding(
            check=LINK, state=state, found=f"links lead to {address}, which does not answer: {exc}", advice=advice
        )

    def fetch_altered(self) -> Finding:
        """Try a link whose signature is wrong, and one without any."""
        link = self._link()
        try:
            altered, bare = (get(each, timeout_s=_ANSWER_S)[0] for each in (alter(link), link.partition("?")[0]))
        except OSError as exc:
            return Finding(check=ALTERED, state=State.UNCHECKED, found=f"links do not answer: {exc}")
        if altered < 400:
            found = f"a link with a wrong signature is answered with {altered}: the store does not look at signatures"
            advice = "Turn authentication on in the store: whoever knows an image's key can read it."
            return Finding(check=ALTERED, state=State.FAILURE, found=found, advice=advice)
        if bare < 400:
            found = f"refused ({altered}), but without a signature the object is given to anybody ({bare})"
            advice = "Take public reading off the bucket, unless images are meant to be public."
            return Finding(check=ALTERED, state=State.WARNING, found=found, advice=advice)
        return Finding(
            check=ALTERED, state=State.OK, found=f"refused ({altered}), and without a signature, too ({bare})"
        )

    def delete(self) -> Finding:
        """Take it away, and look whether it is gone."""
        self._store.delete(self._key)
        try:
            self._store.get(self._key)
        except ObjectNotFound:
            return Finding(check=DELETE, state=State.OK, found="the object is gone")
        found = f"{self._key} is still there after it was deleted"
        return Finding(
            check=DELETE, state=State.FAILURE, found=found, advice="Look into the store's log; delete it by hand."
        )

    def _link(self) -> str:
        return self._store.link(self._key, _CONTENT_TYPE, _LINK_EXPIRY_S)


def alter(link: str) -> str:
    """The same link with another signature of the same form."""
    parts = urlsplit(link)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    signature = query[_SIGNATURE]
    query[_SIGNATURE] = signature[:-1] + ("0" if signature[-1] != "0" else "1")
    return urlunsplit(parts._replace(query=urlencode(query)))


def _other_bytes(check: str) -> Finding:
    advice = "Something between here and the store changes what passes: look at proxies and gateways."
    return Finding(check=check, state=State.FAILURE, found="other bytes came back than were stored", advice=advice)
