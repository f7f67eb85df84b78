"""
The first thing that `docker compose up` runs: passwords that nobody has to think of, and volumes that others may write.

A password is what the environment says, or a file of Compose's `secrets`, or what it was the last time; failing these
it is drawn. The files lie in a volume that no other service mounts; each has one of its own at `/run/secrets`, where
settings are read from, with the files that it needs.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from jobs.process.private import private_files

GROUP = 10001  # of all programs that read the files; see ops/images/imagemill.Dockerfile
_DRAWN_BYTES = 24
_READABLE = 0o440
# In a URL, in a CSV field and in a configuration file of Redis; each of them has signs of its own.
_FORBIDDEN = frozenset(" \t\r\n\"',\\")

# What is drawn, or fixed, where nobody says otherwise; "" draws.
_DEFAULTS = {
    "REDIS_PASSWORD": "",
    "S3_ACCESS_KEY_ID": "imagemill",
    "S3_SECRET_ACCESS_KEY": "",
    "FLOWER_USER": "imagemill",
    "FLOWER_PASSWORD": "",
}
_STORE_KEY = ("imagemill_s3_access_key_id", "imagemill_s3_secret_access_key")
_REDIS_URLS = ("imagemill_redis_url", "imagemill_result_backend_url")
# Which files the volume of a service has: `secrets-NAME`.
NEEDED = {
    "redis": ("redis_password",),
    "s3": _STORE_KEY,
    "flower": ("flower_user", "flower_password", *_REDIS_URLS),
    "programs": (*_REDIS_URLS, *_STORE_KEY),
}


class PasswordRefused(ValueError):
    """A password cannot be used; the text says which, and why."""


def settle(environment: Mapping[str, str], given: Path, volume: Path) -> dict[str, str]:
    """
    The files to write, by name.

    Args:
        environment: `REDIS_PASSWORD` and so on; empty is unset. `REDIS_URL` names a Redis elsewhere.
        given: A folder with files of the same names in lower case.
        volume: Where the files of the last time lie.

    Raises:
        PasswordRefused: One has a sign that would mean something else where it is used.
    """
    kept = {"S3_ACCESS_KEY_ID": "imagemill_s3_access_key_id", "S3_SECRET_ACCESS_KEY": "imagemill_s3_secret_access_key"}
    values = {}
    for name, default in _DEFAULTS.items():
        file = kept.get(name, name.lower())
        values[name] = (
            environment.get(name, "").strip()
            or _read(given / name.lower())
            or _read(volume / file)
            or default
            or secrets.token_hex(_DRAWN_BYTES)
        )
        if bad := _FORBIDDEN & set(values[name]):
            raise PasswordRefused(f"{name}: has {sorted(bad)}, which means something else where it is used")
    own_redis = f"redis://:{quote(values['REDIS_PASSWORD'], safe='')}@redis:6379/0"
    url = environment.get("REDIS_URL", "").strip() or _read(given / "redis_url") or own_redis
    files = {kept.get(name, name.lower()): value for name, value in values.items()}
    return files | {"imagemill_redis_url": url, "imagemill_result_backend_url": url}


def write(files: Mapping[str, str], volume: Path, group: int) -> None:
    """Write files that the group may read; each is whole at any moment."""
    for name, text in files.items():
        partial = volume / f".{name}"
        partial.unlink(missing_ok=True)
        partial.write_text(text)
        partial.chmod(_READABLE)
        os.chown(partial, -1, group)
        partial.replace(volume / name)


def main(volumes: Path = Path("/volumes"), given: Path = Path("/run/secrets")) -> None:
    """
    Write the files into `volumes/secrets`, and those that a service needs into `volumes/secrets-NAME`.

    Each other folder there is given to the user in its name (`redis-10001`).
    """
    try:
        files = settle(os.environ, given, volumes / "secrets")
    except PasswordRefused as exc:
        sys.exit(f"passwords: {exc}")
    with private_files():  # Until a file has its own mode, nobody else reads it.
        write(files, volumes / "secrets", GROUP)
        for service, names in NEEDED.items():
            write({name: files[name] for name in names}, volumes / f"secrets-{service}", GROUP)
    for folder in volumes.iterdir():
        if not folder.name.startswith("secrets"):
            user = int(folder.name.rpartition("-")[2])
            os.chown(folder, user, user)


def _read(file: Path) -> str:
    return file.read_text("utf-8").strip() if file.is_file() else ""


if __name__ == "__main__":
    main()
