"""Pictures are signed, by C2PA's own reader; and what cannot be signed with is told at the start."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from PIL import Image

from jobs.errors import InvalidConfiguration
from jobs.kinds.picture import DigitalSource
from jobs.version import VERSION
from tests.certificates import TRUSTED, Chain, make_chain, read, without_manifest
from workers.process.settings import WorkerSettings
from workers.runners.files import MadeFile
from workers.runners.signing import Certificate, PictureSigner, SigningFailed

FORMATS = ("png", "jpeg", "webp")
_EXPIRY_S, _PATIENCE_S = 2.0, 30.0


def certificate(chain: Chain, **more: Any) -> Certificate:
    return Certificate(
        certificate_file=chain.certificate_file, key_file=chain.key_file, **({"algorithm": "es256"} | more)
    )


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return make_chain(tmp_path_factory.mktemp("chain"))


@pytest.fixture(scope="module")
def signer(chain: Chain) -> PictureSigner:
    return PictureSigner(certificate(chain))


def picture(form: str, seed: int = 0) -> MadeFile:
    body = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(body, form.upper(), xmp=b"<x/>")  # A WebP is of the extended form, as ours are.
    return MadeFile(body=body.getvalue(), extension=form, content_type=f"image/{form}", meta={"seed": 3})


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("source", "actions"),
    [
        (DigitalSource.MODEL, [("c2pa.created", "trainedAlgorithmicMedia")]),
        (
            DigitalSource.MODEL_AND_PICTURE,
            [("c2pa.opened", ""), ("c2pa.edited", "compositeWithTrainedAlgorithmicMedia")],
        ),
    ],
)
def test_signed_file_says_how_it_came_to_be(
    chain: Chain, signer: PictureSigner, form: str, source: DigitalSource, actions: Any
) -> None:
    told = read(signer.sign(picture(form), source).body, f"image/{form}", chain)
    assert (told.state, told.actions) == (TRUSTED, actions)
    generator = told.manifest["claim_generator_info"][0]
    assert (generator["name"], generator["version"]) == ("imagemill", VERSION)
    assert "thumbnail" not in told.manifest
    parents = [each["relationship"] for each in told.manifest.get("ingredients", [])]
    assert parents == (["parentOf"] if source is DigitalSource.MODEL_AND_PICTURE else [])


@pytest.mark.parametrize("form", FORMATS)
def test_without_its_manifest_it_is_the_file_before(signer: PictureSigner, form: str) -> None:
    plain = picture(form)
    signed = signer.sign(plain, DigitalSource.MODEL)
    assert signed.body != plain.body
    assert without_manifest(signed.body) == plain.body
    assert (signed.meta, signed.content_type) == (plain.meta, plain.content_type)
    assert len(signed.body) - len(plain.body) < 8 << 10, "no thumbnail"


@pytest.mark.parametrize("form", FORMATS)
def test_change_of_a_signed_file_is_seen(chain: Chain, signer: PictureSigner, form: str) -> None:
    body = bytearray(signer.sign(picture(form), DigitalSource.MODEL).body)
    at = body.rindex({"png": b"IDAT", "jpeg": b"\xff\xda", "webp": b"VP8 "}[form]) + 100
    body[at] ^= 1
    assert read(bytes(body), f"image/{form}", chain).state == "Invalid"


def test_file_that_is_not_signed_is_told_from_one_that_is(chain: Chain) -> None:
    with pytest.raises(c2pa.C2paError):
        read(picture("png").body, "image/png", chain)


def test_many_threads_sign_at_a_time(chain: Chain, signer: PictureSigner) -> None:
    with ThreadPoolExecutor(8) as pool:
        files = [picture("png", seed) for seed in range(32)]
        signed = list(pool.map(lambda file: signer.sign(file, DigitalSource.MODEL), files))
    assert [without_manifest(each.body) for each in signed] == [each.body for each in files]
    assert {read(each.body, "image/png", chain).state for each in signed} == {TRUSTED}


def test_certificate_that_expires_fails_pictures_and_not_the_worker(tmp_path: Path) -> None:
    short = PictureSigner(certificate(make_chain(tmp_path, ends_in_s=_EXPIRY_S)))
    until = time.monotonic() + _PATIENCE_S
    with pytest.raises(SigningFailed, match=r"not valid at time of signing|certificate expired"):
        while time.monotonic() < until:
            short.sign(picture("png"), DigitalSource.MODEL)


def test_what_cannot_sign_is_told_with_its_file(chain: Chain, tmp_path: Path) -> None:
    other, expired = make_chain(tmp_path / "other"), make_chain(tmp_path / "expired", ends_in_s=-60)
    of_servers = make_chain(tmp_path / "servers", usage=ExtendedKeyUsageOID.SERVER_AUTH)
    mixed = Chain(certificate_file=chain.certificate_file, key_file=other.key_file, root="")
    swapped = Chain(certificate_file=chain.key_file, key_file=chain.certificate_file, root="")
    gone = Chain(certificate_file=tmp_path / "none.pem", key_file=chain.key_file, root="")
    wrong: list[tuple[Certificate, str]] = [
        (certificate(mixed), "does not match"),
        (certificate(expired), "not valid at time"),
        (certificate(of_servers), "certificate is invalid"),
        (certificate(swapped), "credentials|certificate"),
        (certificate(chain, algorithm="ps256"), "as ps256: .*unsupported private key"),
        (certificate(gone), "none.pem: No such file"),
        (certificate(chain, timestamp_url="http://127.0.0.1:9/"), "no picture can be signed"),
    ]
    for each, says in wrong:
        with pytest.raises(InvalidConfiguration, match=rf"^IMAGEMILL_WORKER_C2PA_CERTIFICATE_FILE.*({says})"):
            PictureSigner(each)


@pytest.mark.parametrize("usage", ["1.3.6.1.4.1.62558.2.1", "1.3.6.1.5.5.7.3.36", "1.3.6.1.5.5.7.3.4"])
def test_certificates_for_pictures_for_documents_and_for_mail_sign(tmp_path: Path, usage: str) -> None:
    chain = make_chain(tmp_path, usage=x509.ObjectIdentifier(usage))
    plain = picture("png")
    assert without_manifest(PictureSigner(certificate(chain)).sign(plain, DigitalSource.MODEL).body) == plain.body


def test_settings_go_together(chain: Chain) -> None:
    both = WorkerSettings(c2pa_certificate_file=chain.certificate_file, c2pa_key_file=chain.key_file)
    assert both.certificate == certificate(chain)
    assert WorkerSettings().certificate is None
    lonely: list[tuple[dict[str, Any], str]] = [
        ({"c2pa_certificate_file": chain.certificate_file}, "CERTIFICATE_FILE: goes with .*_KEY_FILE, which"),
        ({"c2pa_key_file": chain.key_file}, "KEY_FILE: goes with .*_CERTIFICATE_FILE, which"),
        ({"c2pa_algorithm": "es384"}, "ALGORITHM: goes with .*_CERTIFICATE_FILE, which"),
        ({"c2pa_timestamp_url": "http://tsa"}, "TIMESTAMP_URL: goes with .*_CERTIFICATE_FILE, which"),
    ]
    for fields, says in lonely:
        with pytest.raises(InvalidConfiguration, match=f"^IMAGEMILL_WORKER_C2PA_{says}"):
            _ = WorkerSettings(**fields).certificate
