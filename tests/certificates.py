"""Certificates that pictures are signed with, as C2PA asks for them, and what its reader says of a file."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

TRUSTED = "Trusted"
SIGNER = "Example Pictures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A signer's certificate, its key, and the root that it hangs on: PEM, and files of the first two."""

    certificate_file: Path
    key_file: Path
    root: str


def make_chain(folder: Path, *, ends_in_s: float = 3600.0, usage: Any = ExtendedKeyUsageOID.EMAIL_PROTECTION) -> Chain:
    """
    C2PA 2.2, 14.5.1: version 3, not its own issuer, key usage digitalSignature, extended key usage emailProtection.

    Args:
        folder: Made; two chains must not share one.
        ends_in_s: How long the signer's certificate is valid.
    """
    folder.mkdir(parents=True, exist_ok=True)
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _begun("Example Root", root_key, root_key, timedelta(days=30))
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    root = root.add_extension(_usage(key_cert_sign=True), critical=True)
    own = _begun(SIGNER, key, root_key, timedelta(seconds=ends_in_s))
    own = own.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    own = own.add_extension(_usage(digital_signature=True), critical=True)
    own = own.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    signed = [each.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) for each in (own, root)]
    chain = Chain(certificate_file=folder / "chain.pem", key_file=folder / "key.pem", root=signed[1].decode())
    chain.certificate_file.write_bytes(signed[0])
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    chain.key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return chain


def _begun(
    name: str, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey, lasts: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    of_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name("Example Root"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + lasts)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(of_issuer, critical=False)
    )


def _name(name: str) -> x509.Name:
    said = {NameOID.COUNTRY_NAME: "DE", NameOID.ORGANIZATION_NAME: "Example", NameOID.COMMON_NAME: name}
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in said.items()])


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    none = dict.fromkeys((*others, "crl_sign", "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=digital_signature, key_cert_sign=key_cert_sign, **none)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """
    What C2PA's own reader says of a file.

    Attributes:
        state: `Trusted` where all of it is whole, and signed by whom the root vouches for.
        manifest: The last of the file.
    """

    state: str
    manifest: dict[str, Any]

    @property
    def actions(self) -> list[tuple[str, str]]:
        """What was done to make it: each with its digital source type, or without."""
        (assertion,) = [each for each in self.manifest["assertions"] if each["label"].startswith("c2pa.actions")]
        found = assertion["data"]["actions"]
        return [(each["action"], each.get("digitalSourceType", "").rpartition("/")[2]) for each in found]


def read(body: bytes, content_type: str, chain: Chain) -> Told:
    """Raises `c2pa.C2paError` for a file that is not signed."""
    trust = {"verify": {"verify_trust": True}, "trust": {"trust_anchors": chain.root}}
    with (
        c2pa.Context.from_dict(trust) as context,
        c2pa.Reader(content_type, io.BytesIO(body), context=context) as reader,
    ):
        found = json.loads(reader.json())
    return Told(state=found["validation_state"], manifest=found["manifests"][found["active_manifest"]])


def without_manifest(body: bytes) -> bytes:
    """A PNG, JPEG or WebP as it was before it was signed. C2PA 2.2, A.3: where a manifest stands in each of them."""
    if body.startswith(b"\x89PNG"):
        return body[:8] + b"".join(chunk for name, chunk in _png_chunks(body) if name != b"caBX")
    if body.startswith(b"\xff\xd8"):
        return b"\xff\xd8" + b"".join(part for name, part in _jpeg_parts(body) if name != 0xEB)
    kept = b"".join(chunk for name, chunk in _riff_chunks(body) if name != b"C2PA")
    return b"RIFF" + (len(kept) + 4).to_bytes(4, "little") + b"WEBP" + kept


def _png_chunks(body: bytes) -> list[tuple[bytes, bytes]]:
    at, found = 8, []
    while at < len(body):
        size = int.from_bytes(body[at : at + 4], "big") + 12
        found.append((body[at + 4 : at + 8], body[at : at + size]))
        at += size
    return found


def _jpeg_parts(body: bytes) -> list[tuple[int, bytes]]:
    at, found = 2, []
    while body[at + 1] != 0xDA:  # Behind which its pixels come.
        size = int.from_bytes(body[at + 2 : at + 4], "big") + 2
        found.append((body[at + 1], body[at : at + size]))
        at += size
    return [*found, (0xDA, body[at:])]


def _riff_chunks(body: bytes) -> list[tuple[bytes, bytes]]:
    at, found = 12, []
    while at < len(body):
        size = int.from_bytes(body[at + 4 : at + 8], "little")
        size += 8 + size % 2
        found.append((body[at : at + 4], body[at : at + size]))
        at += size
    return found
