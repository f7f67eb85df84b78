"""All checks, side by side: one that waits for an address that does not answer holds up none of the others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from ops.doctor.finding import Finding, State
from ops.doctor.flower import check_flower
from ops.doctor.gpu import check_gpus
from ops.doctor.messages import check_messages
from ops.doctor.models import check_models
from ops.doctor.notifications import check_notifications
from ops.doctor.redis import check_redis
from ops.doctor.store import check_store
from ops.doctor.workers import check_workers


def diagnose(flower_url: str | None = None) -> list[list[Finding]]:
    """
    Look at everything.

    Args:
        flower_url: Where Flower is; None for the address of the settings, or the local stack's.

    Returns:
        Findings by what they are about, in an order in which one would put them right.
    """
    checks = (
        *(check_redis, check_store, check_models, check_workers, check_messages, check_notifications),
        *(lambda: check_flower(flower_url), check_gpus),
    )
    with ThreadPoolExecutor(len(checks)) as pool:
        return [future.result() for future in [pool.submit(check) for check in checks]]


def has_failed(groups: list[list[Finding]]) -> bool:
    """Whether anything must be done before jobs run."""
    return any(finding.state is State.FAILURE for group in groups for finding in group)
