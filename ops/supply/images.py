"""
`make digests`: writes into docker-compose.yml and the Dockerfiles which bytes the images of others are.

A tag names what its owner pushed last; a digest names one manifest for ever, and the engine checks what it pulls
against it. Which digest a tag has today is asked of the tag's registry, by the protocol that every registry speaks:
https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from urllib.error import HTTPError, URLError

from ops.settings import CHECKOUT

FILES = ("docker-compose.yml", *(f"ops/images/{name}.Dockerfile" for name in ("imagemill", "store")))

# `image: ${REDIS_IMAGE:-redis:7}` in Compose's file, `ARG PYTHON_IMAGE=python:3.11` in a Dockerfile.
_NAMED = re.compile(r"(?P<before>_IMAGE(?::-|=))(?P<name>[\w./:-]+:[\w.-]+)(?:@(?P<digest>sha256:[0-9a-f]{64}))?")
_ANSWER_S = 30.0
_INDEXES = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"
_MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


class DigestUnknown(Exception):
    """A registry does not say what a tag is; the text says which, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThirdParty:
    """
    An image of others that a file names.

    Attributes:
        name: With its tag.
        digest: `sha256:…`; None where the tag alone is named.
    """

    file: str
    name: str
    digest: str | None


def named_in(folder: Path) -> Iterator[ThirdParty]:
    """The images of others that the files of a checkout name, each as often as it stands there."""
    for file in FILES:
        for found in _NAMED.finditer((folder / file).read_text("utf-8")):
            yield ThirdParty(file=file, name=found["name"], digest=found["digest"])


def pin_all(folder: Path) -> dict[str, str]:
    """
    Write the digest of today behind every tag; all of them, or none.

    Returns:
        The digests by the images' names.

    Raises:
        DigestUnknown
    """
    digests = {name: digest_of(name) for name in sorted({each.name for each in named_in(folder)})}
    for file in FILES:
        text = (folder / file).read_text("utf-8")
        pinned = _NAMED.sub(lambda found: f"{found['before']}{found['name']}@{digests[found['name']]}", text)
        (folder / file).write_text(pinned, "utf-8")
    return digests


def digest_of(name: str) -> str:
    """
    What a tag is today, for all platforms that it has.

    Args:
        name: As Docker has it: `redis:7`, `prom/prometheus:v3`, `registry.example.org:5000/mirror/redis:7`.

    Raises:
        DigestUnknown
    """
    registry, repository, tag = _parts_of(name)
    url = f"{registry}/v2/{repository}/manifests/{tag}"
    try:
        manifest = _get(url, {"Accept": f"{_INDEXES}, {_MANIFESTS}"})
    except (URLError, OSError, ValueError, KeyError) as exc:
        raise DigestUnknown(f"{name}: {url} cannot be had: {exc}") from exc
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


def _parts_of(name: str) -> tuple[str, str, str]:
    """The registry's address, the repository and the tag, by the rules of Docker's short names."""
    path, _, tag = name.rpartition(":")
    host, slash, repository = path.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        scheme = "http" if host.split(":")[0] in {"localhost", "127.0.0.1"} else "https"
        return f"{scheme}://{host}", repository, tag
    return "https://registry-1.docker.io", path if slash else f"library/{path}", tag


def _get(url: str, headers: dict[str, str]) -> bytes:
    try:
        return _read(url, headers)
    except HTTPError as exc:
        if exc.code != 401:
            raise
        return _read(url, headers | {"Authorization": f"Bearer {_token(exc.headers)}"})


def _token(refusal: Message) -> str:
    """Whoever asks without a name gets one for reading what is public: distribution's docs, "Token Authentication"."""
    said = dict(re.findall(r'(\w+)="([^"]*)"', refusal["WWW-Authenticate"] or ""))
    query = urllib.parse.urlencode({name: said[name] for name in ("service", "scope") if name in said})
    answer = json.loads(_read(f"{said['realm']}?{query}", {}))
    return str(answer.get("token") or answer["access_token"])


def _read(url: str, headers: dict[str, str]) -> bytes:
    if not url.startswith(("https://", "http://localhost", "http://127.0.0.1")):
        raise ValueError(f"{url} is not https")
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - see above
    with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:  # noqa: S310
        return bytes(answer.read())


def main() -> None:
    """Pin all images; where a registry does not answer, say so, change nothing, and end with code 1."""
    try:
        digests = pin_all(CHECKOUT)
    except DigestUnknown as exc:
        sys.exit(f"digests: {exc}")
    sys.stdout.write("".join(f"{name}@{digest}\n" for name, digest in digests.items()))


if __name__ == "__main__":
    main()
