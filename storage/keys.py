"""
Names of objects: `{prefix}/{yyyy}/{mm}/{dd}/{job}/{epoch}-{token}/{index}.{ext}` of what jobs make, and
`{prefix}/inputs/{first two characters}/{file}` of what callers have uploaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime

_OURS = re.compile(
    r"(?P<day>\d{4}/\d{2}/\d{2})/(?P<job>[A-Za-z0-9][A-Za-z0-9._-]{0,127})/(?P<attempt>\d+-[A-Za-z0-9]+)"
    r"/(?P<name>job\.json|\d+\.[a-z0-9]+|\d+\.thumb\.webp)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFolder:
    """
    Where one attempt at a job writes. Two attempts never share it, so a late one overwrites nothing.

    Attributes:
        created_at: The job's submission, Unix seconds; days are those of UTC.
        epoch: Number of the claim.
        token: Secret of the claim.
    """

    prefix: str
    job_id: str
    created_at: float
    epoch: int
    token: str

    def image(self, index: int, extension: str) -> str:
        """Key of the job's image `index`, counted from 0."""
        return f"{self._folder}/{index}.{extension}"

    def thumbnail(self, index: int) -> str:
        """Key of that image's thumbnail."""
        return f"{self._folder}/{index}.thumb.webp"

    def manifest(self) -> str:
        """Key of `job.json`."""
        return f"{self._folder}/job.json"

    @property
    def _folder(self) -> str:
        return f"{job_folder(self.prefix, self.job_id, self.created_at)}/{self.epoch}-{self.token}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedKey:
    """
    What a key of ours says.

    Attributes:
        folder: Of the attempt: the key up to its last slash.
        day: Of the job's submission, in UTC.
        name: The file's.
    """

    folder: str
    day: date
    job_id: str
    name: str

    @property
    def is_manifest(self) -> bool:
        """Whether it is `job.json`, which an attempt writes last."""
        return self.name == "job.json"


def results_root(prefix: str) -> str:
    """What all keys of what jobs make begin with, until the year 2999, and those of uploaded files do not."""
    return f"{root_of(prefix)}2"


def input_key(prefix: str, file_id: str) -> str:
    """
    Key of the object of an uploaded file.

    Args:
        file_id: `file-` and letters and digits, the first two of which are the folder.
    """
    return f"{root_of(prefix)}inputs/{file_id.removeprefix('file-')[:2]}/{file_id}"


def job_folder(prefix: str, job_id: str, created_at: float) -> str:
    """Where all attempts at a job write that was submitted then (Unix time, seconds)."""
    day = datetime.fromtimestamp(created_at, UTC)
    return f"{root_of(prefix)}{day:%Y/%m/%d}/{job_id}"


def root_of(prefix: str) -> str:
    """What all keys of a prefix begin with."""
    stripped = prefix.strip("/")
    return f"{stripped}/" if stripped else ""


def parse_key(prefix: str, key: str) -> ParsedKey | None:
    """What a key says; None for one that no attempt of ours has written."""
    root = root_of(prefix)
    found = _OURS.fullmatch(key.removeprefix(root)) if key.startswith(root) else None
    if found is None:
        return None
    try:
        day = datetime.strptime(found["day"], "%Y/%m/%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None
    return ParsedKey(folder=key.rpartition("/")[0], day=day, job_id=found["job"], name=found["name"])
