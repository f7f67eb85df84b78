"""Claiming a job as a worker does."""

from __future__ import annotations

from jobs.table.claim import Claim
from jobs.table.table import JobTable


def claim_job(table: JobTable, job_id: str, owner: str = "a worker") -> Claim:
    """Claim a job that waits."""
    claimed, _ = table.claim(job_id, owner=owner)
    assert claimed is not None
    return claimed
