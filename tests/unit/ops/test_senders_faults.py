"""Who is woken: not for what senders do wrong, and for everything else."""

from __future__ import annotations

import re

from jobs.errors import ErrorCode
from ops.settings import CHECKOUT

SENDERS = {
    ErrorCode.INVALID_REQUEST,
    ErrorCode.INVALID_INPUT,
    ErrorCode.QUOTA_EXCEEDED,
    ErrorCode.DEADLINE_EXCEEDED,
}


def test_the_alert_of_failed_jobs_leaves_out_what_senders_do_wrong_alone() -> None:
    rules = (CHECKOUT / "ops" / "prometheus" / "alerts.yml").read_text("utf-8")
    found = re.findall(r'code!~"([^"]+)"', rules)
    assert [set(each.split("|")) for each in found] == [{str(code) for code in SENDERS}]
