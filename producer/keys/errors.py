"""
Why a request is refused for its key.

    Permanent
    ├── KeyRefused           no key, or an invalid key
    ├── KindNotAllowed       the key is limited to some models, and this kind uses none
    └── ModelNotAllowed      the key may not use this model
    Retryable
    ├── RateExceeded         the key has reached its rate limit
    ├── TooManyConnections   the caller has reached its limit of open requests
    ├── TooManyBatches       the caller has reached its limit of open batches
    ├── TooManyUploads       the caller has reached its limit of uploads at a time, or the process has
    └── TooManyBytes         the bodies of its open requests are too large together
"""

from __future__ import annotations

from jobs.errors import Permanent, Retryable


class KeyRefused(Permanent):
    """The request has no key, or an invalid key. The text never has the key."""


class ModelNotAllowed(Permanent):
    """
    The key may not use this model.

    Attributes:
        field: Of the request: "model".
    """

    field = "model"

    def __init__(self, model: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"model: this key may not use {model!r}; it may use {', '.join(allowed)}")


class KindNotAllowed(Permanent):
    """
    The key is limited to some models, and this kind of job uses none.

    Attributes:
        field: Of the request: "kind".
    """

    field = "kind"

    def __init__(self, kind: str, models: tuple[str, ...]) -> None:
        super().__init__(f"kind: this key may only use the models {', '.join(models)}, and {kind!r} uses none")


class RateExceeded(Retryable):
    """
    The key has reached its rate limit; nothing was done.

    Attributes:
        retry_after_s: When the next use is due.
    """

    def __init__(self, rate: str, retry_after_s: float) -> None:
        super().__init__(f"this key has reached its rate limit of {rate}; try again in {retry_after_s:.1f} s")
        self.retry_after_s = retry_after_s


class TooManyConnections(Retryable):
    """The caller has reached its limit of open requests in this process; nothing was done."""

    def __init__(self, caller: str, most: int) -> None:
        super().__init__(
            f"{caller} has reached its limit of {most} open requests in one API process, including streams and waits: "
            "close some of them, or try again later"
        )


class TooManyBatches(Retryable):
    """The caller has reached its limit of open batches in this process; nothing was done."""

    def __init__(self, caller: str, most: int) -> None:
        super().__init__(
            f"{caller} has reached its limit of {most} open batches in one API process: try again when one has ended"
        )


class TooManyUploads(Retryable):
    """The caller sends as many files as it may, or this process takes as many as it can; nothing was done."""

    def __init__(self, caller: str | None, most: int) -> None:
        """`caller`: None where it is the process' limit."""
        whose = f"{caller} has reached its limit" if caller else "this server has reached its limit"
        super().__init__(f"{whose} of {most} uploads at a time in one API process: try again when one has ended")


class TooManyBytes(Retryable):
    """The bodies of the caller's open requests in this process are too large together; nothing was done."""

    def __init__(self, caller: str, most: int) -> None:
        super().__init__(
            f"{caller} has reached its limit of {most} bytes of request bodies in one API process: try again later"
        )
