"""
Why a request is refused for its key.

    Permanent
    ├── KeyRefused           no key, or one that is not valid (any more)
    ├── KindNotAllowed       the key may use some models alone, and this kind runs without any
    └── ModelNotAllowed      the key may not use this model
    Retryable
    ├── RateExceeded         the key was used as often as it may be
    ├── TooManyConnections   the caller has as many requests open as it may
    ├── TooManyBatches       as many of them are batches as may be
    └── TooManyBytes         the bodies of its requests that are coming in are too large together
"""

from __future__ import annotations

from jobs.errors import Permanent, Retryable


class KeyRefused(Permanent):
    """The request has no key, or one that is not valid (any more). The text never has the key."""


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
    The key may use some models alone, and this kind of job runs without any.

    Attributes:
        field: Of the request: "kind".
    """

    field = "kind"

    def __init__(self, kind: str, models: tuple[str, ...]) -> None:
        super().__init__(f"kind: this key is for the models {', '.join(models)} alone, and {kind!r} runs without any")


class RateExceeded(Retryable):
    """
    The key was used as often as it may be; nothing was done.

    Attributes:
        retry_after_s: When the next use is due.
    """

    def __init__(self, rate: str, retry_after_s: float) -> None:
        super().__init__(f"this key may be used {rate}, and was; try again in {retry_after_s:.1f} s")
        self.retry_after_s = retry_after_s


class TooManyConnections(Retryable):
    """The caller has as many requests open in this process as it may; nothing was done."""

    def __init__(self, caller: str, most: int) -> None:
        super().__init__(
            f"{caller} may have {most} requests open at a time in one API process, streams and waits included, and has "
            "them: end some of them, or come again"
        )


class TooManyBatches(Retryable):
    """As many of the caller's open requests send or read batches as may; nothing was done."""

    def __init__(self, caller: str, most: int) -> None:
        super().__init__(
            f"{caller} may send or read {most} batches at a time in one API process, and does: "
            "come again when one has ended"
        )


class TooManyBytes(Retryable):
    """The bodies of the caller's requests that this process reads are too large together; nothing was done."""

    def __init__(self, caller: str, most: int) -> None:
        super().__init__(
            f"{caller} may send bodies of {most} bytes at a time to one API process, all together, and does: come again"
        )
