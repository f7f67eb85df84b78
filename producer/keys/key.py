"""What an API key is, and what is known of it once it was handed out."""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated, Any

from pydantic import Field, ValidationError

from jobs.errors import InvalidRequest
from jobs.fields import Name
from jobs.table.callers import CallerLimits

# Recognisable: for people, and for tools that look for secrets in what is published.
TOKEN_PREFIX = "im_"  # noqa: S105  # it is none yet
_TOKEN_BYTES = 32
_HINT_CHARS = len(TOKEN_PREFIX) + 4


class ApiKey(CallerLimits):
    """
    One key. Its token is nowhere in here; what is not of HTTP alone stands in `CallerLimits`.

    Attributes:
        name: Also the caller of its jobs; no two keys ever have the same.
        token_hash: SHA-256 of the token, in hex. A token has 256 random bits, so a slow hash, as for passwords, would
            add nothing: there is no list of likely tokens to try.
        hint: How the token begins, so that a person can tell which it is.
        rate: How often it may be used, e.g. "10/second"; None for any number.
        models: Which it may use; None for all.
        created_at, revoked_at: Unix time, seconds.
    """

    name: Name
    token_hash: str
    hint: str
    rate: str | None = None
    models: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    created_at: float
    revoked_at: float | None = None

    @property
    def is_valid(self) -> bool:
        """Whether it opens anything."""
        return self.revoked_at is None

    def public(self) -> dict[str, Any]:
        """What may be shown: all but the hash."""
        return self.model_dump(mode="json", exclude={"token_hash"})


def read_key(record: str) -> ApiKey | None:
    """A stored record; None where this version does not understand it, for then it may open too much."""
    try:
        return ApiKey.model_validate_json(record)
    except ValidationError:
        return None


def new_token() -> str:
    """A token nobody can guess: 256 random bits in hex, behind the prefix."""
    return TOKEN_PREFIX + secrets.token_hex(_TOKEN_BYTES)


def hash_token(token: str) -> str:
    """What is stored of a token, and what it is looked up by."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def make_key(token: str, **fields: Any) -> ApiKey:
    """
    The record of a new token; `fields` are those of `ApiKey`.

    Raises:
        InvalidRequest: Names the field that is wrong.
    """
    try:
        return ApiKey(token_hash=hash_token(token), hint=token[:_HINT_CHARS], **fields)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        raise InvalidRequest(str(first["loc"][0]), first["msg"]) from exc
