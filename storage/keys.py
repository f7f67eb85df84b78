"""Names of objects: `{prefix}/{yyyy}/{mm}/{dd}/{job}/{epoch}-{token}/{index}.{ext}`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


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
        day = datetime.fromtimestamp(self.created_at, UTC)
        parts = (self.prefix.strip("/"), f"{day:%Y/%m/%d}", self.job_id, f"{self.epoch}-{self.token}")
        return "/".join(part for part in parts if part)
