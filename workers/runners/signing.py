"""
Signs pictures as C2PA has it: with the operator's certificate, a file says who answers for it and how it came to be.

The manifest stands in the file and is bound to all its other bytes, so it is the last that becomes of a picture.
https://spec.c2pa.org/specifications/specifications/2.2/specs/C2PA_Specification.html
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from jobs.errors import InvalidConfiguration
from jobs.kinds.picture import DigitalSource
from jobs.version import VERSION
from workers.runners.files import MadeFile

Algorithm = Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"]

_SETTING = "IMAGEMILL_WORKER_C2PA_CERTIFICATE_FILE"

# What a certificate may be for: that of C2PA's own list, signing of documents, of mail. c2pa 0.38 by itself signs with
# the first two, and then finds its own signature invalid.
_PURPOSES = ("1.3.6.1.4.1.62558.2.1", "1.3.6.1.5.5.7.3.36", "1.3.6.1.5.5.7.3.4")
# Without the thumbnail that c2pa makes otherwise, of up to 150 kB in 200 ms.
_SETTINGS = {"builder": {"thumbnail": {"enabled": False}}, "trust": {"trust_config": "\n".join(_PURPOSES)}}

_PARENT = "parent"  # its label in a manifest


class SigningFailed(Exception):
    """One picture could not be signed. The text is c2pa's own, for the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """
    What the operator signs with.

    Attributes:
        certificate_file: PEM: the signer's certificate, then those between it and its root.
        key_file: PEM, PKCS #8: its key.
        timestamp_url: Of an authority (RFC 3161) that is asked for the time of each signature; None for none.
    """

    certificate_file: Path
    key_file: Path
    algorithm: Algorithm
    timestamp_url: str | None = None


class PictureSigner:
    """
    Signs files, from any number of threads. c2pa is imported where there is one of these, and nowhere else.

    It holds what it signs a few times: of the largest files 4 times, 8 bytes a pixel (c2pa 0.38, a JPEG of noise); less
    than encoding the same picture took.
    """

    def __init__(self, certificate: Certificate) -> None:
        """
        Read the files, and sign a picture of one pixel with them.

        Raises:
            InvalidConfiguration: There is no c2pa, or it cannot sign with these.
        """
        self._c2pa = _library()
        try:
            chain, key = certificate.certificate_file.read_bytes(), certificate.key_file.read_bytes()
        except OSError as exc:
            raise InvalidConfiguration(f"{_SETTING}, …_KEY_FILE: {exc.filename}: {exc.strerror}") from exc
        try:
            info = self._c2pa.C2paSignerInfo(certificate.algorithm, chain, key, certificate.timestamp_url)
            signer = self._c2pa.Signer.from_info(info)
            self._context = self._c2pa.Context.from_dict(_SETTINGS, signer=signer)
            self.sign(_smallest(), DigitalSource.MODEL)
        except (self._c2pa.C2paError, SigningFailed) as exc:
            raise InvalidConfiguration(
                f"{_SETTING}: no picture can be signed with {certificate.certificate_file} and "
                f"{certificate.key_file} as {certificate.algorithm}: {exc}"
            ) from exc

    def sign(self, file: MadeFile, source: DigitalSource) -> MadeFile:
        """
        A picture with a manifest in it; its other bytes stay as they are.

        Args:
            file: A PNG, JPEG or WebP.

        Raises:
            SigningFailed: The certificate is valid no more, or the timestamp authority does not answer.
        """
        signed = io.BytesIO()
        try:
            with self._c2pa.Builder(_manifest(source), self._context) as builder:
                builder.sign(file.content_type, io.BytesIO(file.body), signed)
        except self._c2pa.C2paError as exc:
            raise SigningFailed(str(exc)) from exc
        return replace(file, body=signed.getvalue())


def _library() -> Any:
    try:
        import c2pa
    except (ImportError, OSError, RuntimeError) as exc:  # The last where its wheel has no library for this machine.
        raise InvalidConfiguration(
            f"{_SETTING}: signing needs the package c2pa-python, the extra `sign` of pyproject.toml: {exc}"
        ) from exc
    return c2pa


def _manifest(source: DigitalSource) -> dict[str, Any]:
    """
    Of a picture. The one that an edit began with is named as its parent, and no more is said of it: nothing of a file
    that a caller sent goes on but its pixels.
    """
    made: dict[str, Any] = {"digitalSourceType": source.uri}
    parents: list[dict[str, Any]] = []
    actions = [{"action": "c2pa.created", **made}]
    if source is DigitalSource.MODEL_AND_PICTURE:
        parents = [{"title": "input picture", "relationship": "parentOf", "label": _PARENT}]
        opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [_PARENT]}}
        actions = [opened, {"action": "c2pa.edited", **made}]
    return {
        "claim_version": 2,
        "claim_generator_info": [{"name": "imagemill", "version": VERSION}],
        "ingredients": parents,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
    }


def _smallest() -> MadeFile:
    body = io.BytesIO()
    Image.new("RGB", (1, 1)).save(body, "PNG")
    return MadeFile(body=body.getvalue(), extension="png", content_type="image/png")
