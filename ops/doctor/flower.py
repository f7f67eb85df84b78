"""Flower, which is optional: it is checked at the given address or at the local stack's port."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from ops.doctor.finding import Finding, State, attempt
from ops.doctor.http import get
from ops.doctor.settings import load_doctor_settings
from ops.process import LOOPBACK
from ops.settings import load_stack_settings

FLOWER = "Flower"

_ANSWER_S = 3.0
_HERE = (LOOPBACK, "localhost", "::1")
_ELSEWHERE = "If it runs elsewhere, give its address by --flower URL or IMAGEMILL_DOCTOR_FLOWER_URL."


def check_flower(url: str | None) -> list[Finding]:
    """
    Whether Flower answers.

    Args:
        url: Where; None for the address of the settings, or the local stack's.
    """
    return [attempt(FLOWER, lambda: _check(url))]


def _check(url: str | None) -> Finding:
    named = url or load_doctor_settings().flower_url
    if named:
        return _look(named, is_named=True)
    port = load_stack_settings().flower_port
    if not port:
        return Finding(check=FLOWER, state=State.UNCHECKED, found="no address is set", advice=_ELSEWHERE)
    return _look(f"http://{LOOPBACK}:{port}", is_named=False)


def _look(url: str, *, is_named: bool) -> Finding:
    parts = _parse(url)
    if parts is None:
        found, advice = f"{url!r} is not an HTTP address", "Give it as http://HOST:PORT."
        return Finding(check=FLOWER, state=State.FAILURE, found=found, advice=advice)
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")
    try:
        status, _ = get(f"{shown}/healthcheck", timeout_s=_ANSWER_S, no_proxy=parts.hostname in _HERE)
    except OSError as exc:
        if not is_named:
            return Finding(check=FLOWER, state=State.UNCHECKED, found=f"nothing answers at {shown}", advice=_ELSEWHERE)
        advice = "Start it, or give its address by --flower URL. Jobs run without it."
        found = f"{shown} does not answer: {exc}"
        return Finding(check=FLOWER, state=State.WARNING, found=found, advice=advice)
    if status in (200, 401):  # 401: a proxy in front of it wants a password first, so it is there.
        return Finding(check=FLOWER, state=State.OK, found=f"{shown} answers")
    found = f"{shown}/healthcheck answers with {status}"
    return Finding(check=FLOWER, state=State.WARNING, found=found, advice=f"Is that Flower? {_ELSEWHERE}")


def _parse(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # Its port is no number, or a bracket is missing.
        return None
    return parts if is_address else None
