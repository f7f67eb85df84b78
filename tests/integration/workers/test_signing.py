"""What a worker with a certificate stores is signed, and else what it would be: a real Redis, a real store."""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import ErrorCode
from jobs.kinds.inputs import Input
from jobs.kinds.picture import DigitalSource
from jobs.kinds.registry import parse_request, settle
from jobs.submit import submission_of
from jobs.table.record import Artifact
from jobs.table.states import Status
from jobs.view import spec_to_run
from tests.certificates import TRUSTED, Chain, make_chain, read, without_manifest
from workers.attempt.attempt import Attempt
from workers.attempt.context import Context
from workers.attempt.errors import Draining
from workers.runners.files import MadeFile
from workers.runners.signing import Certificate, PictureSigner, SigningFailed

FORMATS = ("png", "jpeg", "webp")
_EXPIRY_S, _PATIENCE_S = 2.0, 30.0


def signer_of(chain: Chain) -> PictureSigner:
    return PictureSigner(
        Certificate(certificate_file=chain.certificate_file, key_file=chain.key_file, algorithm="es256")
    )


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return make_chain(tmp_path_factory.mktemp("chain"))


@pytest.fixture
def signing(context: Context, chain: Chain) -> Context:
    return replace(context, signer=signer_of(chain))


def begin(context: Context, **fields: Any) -> Attempt:
    asked = {"prompt": "a red circle", "model": "sim", "seed": 7, "reproducible": True, **fields}
    request = parse_request(asked)
    spec = settle(request, context.catalogue)
    submitted = context.table.submit(submission_of(request, spec, context.catalogue, job_id=str(uuid.uuid4())))
    claim, _ = context.table.claim(submitted.job_id, owner=context.name, read=spec_to_run)
    assert claim is not None
    return Attempt(claim, context)


def run(context: Context, **fields: Any) -> tuple[str, list[Artifact]]:
    attempt = begin(context, **fields)
    record = attempt.step()
    assert record is not None
    assert record.status is Status.SUCCEEDED, record.error
    return record.id, list(record.artifacts)


def body_of(context: Context, artifact: Artifact) -> bytes:
    return context.store.get(artifact.key)


def edit_of(job_id: str, artifact: Artifact) -> dict[str, Any]:
    size = {"width": artifact.meta["width"], "height": artifact.meta["height"]}
    return {
        "kind": "edit",
        "image": Input(job=job_id, index=0, bytes=artifact.bytes, sha256=artifact.sha256, **size),
    }


@pytest.mark.parametrize("form", FORMATS)
def test_stored_files_are_signed_and_are_those_of_their_artifacts(signing: Context, chain: Chain, form: str) -> None:
    output = {"format": form, "thumbnail": 32}
    first, generated = run(signing, n=2, output=output)
    _, edited = run(signing, output=output, **edit_of(first, generated[0]))
    said = [
        *((each, DigitalSource.MODEL, ["c2pa.created"]) for each in generated),
        *((each, DigitalSource.MODEL_AND_PICTURE, ["c2pa.opened", "c2pa.edited"]) for each in edited),
    ]
    for artifact, source, actions in said:
        body = body_of(signing, artifact)
        assert (len(body), hashlib.sha256(body).hexdigest()) == (artifact.bytes, artifact.sha256)
        told = read(body, artifact.content_type, chain)
        assert told.state == TRUSTED
        assert [name for name, _ in told.actions] == actions
        assert told.actions[-1][1] == source
        assert f'digitalsourcetype/{source}"'.encode() in without_manifest(body)


@pytest.mark.parametrize("form", FORMATS)
def test_reproducible_jobs_have_the_same_bytes_before_they_are_signed(
    context: Context, signing: Context, form: str
) -> None:
    output = {"format": form}
    first, (plain,) = run(context, output=output)
    _, (one,) = run(signing, output=output)
    _, (two,) = run(signing, output=output)
    assert one.sha256 != two.sha256
    before = body_of(context, plain)
    assert [without_manifest(body_of(signing, each)) for each in (one, two)] == [before, before]
    _, (edited,) = run(context, output=output, **edit_of(first, plain))
    _, (signed,) = run(signing, output=output, **edit_of(first, plain))
    assert without_manifest(body_of(signing, signed)) == body_of(context, edited)


def test_what_waited_for_the_store_is_signed(signing: Context, chain: Chain) -> None:
    store: Any = signing.store
    store.is_away = True
    attempt = begin(signing)
    assert attempt.step() is None
    store.is_away = False
    record = attempt.step()
    assert record is not None
    (artifact,) = record.artifacts
    assert read(body_of(signing, artifact), "image/png", chain).state == TRUSTED


def test_what_waited_unsigned_is_made_anew(context: Context, signing: Context, chain: Chain) -> None:
    """By a worker that has a certificate since."""
    store: Any = signing.store
    store.is_away = True
    first = begin(context)
    assert first.step() is None
    first.leave(Draining("the worker stops"))
    with pytest.raises(Draining):
        first.step()
    (spooled,) = context.spool.left_over()
    context.spool.leave(spooled)
    store.is_away = False
    claim, _ = context.table.claim(first.claim.job_id, owner=context.name, read=spec_to_run)
    assert claim is not None
    record = Attempt(claim, signing).step()
    assert record is not None
    (artifact,) = record.artifacts
    assert read(body_of(signing, artifact), "image/png", chain).state == TRUSTED


def test_job_whose_picture_cannot_be_signed_fails_and_stores_none(context: Context, tmp_path: Path) -> None:
    short = signer_of(make_chain(tmp_path / "short", ends_in_s=_EXPIRY_S))
    until = time.monotonic() + _PATIENCE_S
    _, (plain,) = run(context)
    file = MadeFile(body=body_of(context, plain), extension="png", content_type="image/png")
    with pytest.raises(SigningFailed):
        while time.monotonic() < until:
            short.sign(file, DigitalSource.MODEL)
    attempt = begin(replace(context, signer=short))
    record = attempt.step()
    assert record is not None
    assert record.error is not None
    said = "the picture could not be signed; the server's log has the reason under the job's id"
    assert (record.status, record.error.code, record.error.message) == (
        Status.FAILED,
        ErrorCode.GENERATION_ERROR,
        said,
    )
    assert [each.key for each in context.store.objects() if record.id in each.key] == []
