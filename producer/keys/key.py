"""What an API key is, and what is known of it once it was handed out."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from jobs.errors import InvalidRequest
from jobs.fields import Name
from jobs.table.callers import CallerLimits

# Recognisable: for people, and for tools that look for secrets in what is published.
TOKEN_PREFIX = "im_"  # noqa: S105  # it is none yet
_TOKEN_BYTES = 32
_TOKEN = re.compile(rf"{TOKEN_PREFIX}[0-9a-f]{{{2 * _TOKEN_BYTES}}}")
_HINT_CHARS = len(TOKEN_PREFIX) + 4


class KeyLimits(CallerLimits):
    """
    What a key allows; who has none gets the same as a key without options. What is not of HTTP alone: `CallerLimits`.

    Attributes:
        rate: How often it may be used, e.g. "10/second"; None for any number.
        models: Which it may use; None for all.
        max_connections: How many requests it may have open at a time in one API process: streams and waits, too.
        max_batches: How many of them may send a batch, or read the results of one.
        max_uploads: How many of them may send a file.
    """

    rate: str | None = None
    models: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    max_connections: Annotated[int, Field(ge=1)] = 1000
    max_batches: Annotated[int, Field(ge=1)] = 4
    max_uploads: Annotated[int, Field(ge=1)] = 4


LIMITS = set(KeyLimits.model_fields)


class ApiKey(KeyLimits):
    """
    One key. Its token is nowhere in here.

    Attributes:
        name: Also the caller of its jobs; no two keys ever have the same.
        token_hash: SHA-256 of the token, in hex. A token has 256 random bits, so a slow hash, as for passwords, would
            add nothing: there is no list of likely tokens to try.
        hint: How the token begins, so that a person can recognize it.
        created_at, revoked_at: Unix time, seconds.
    """

    name: Name
    token_hash: str
    hint: str
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


def looks_like_token(text: str) -> bool:
    """Whether it has the form of what `new_token` makes."""
    return _TOKEN.fullmatch(text) is not None


def hash_token(token: str) -> str:
    """What is stored of a token, and what it is looked up by."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def make_key(token: str, **fields: Any) -> ApiKey:
    """
    The record of a new token; `fields` are those of `ApiKey`.

    Raises:
        InvalidRequest: Names the field that is wrong.
    """
    return _validated({"token_hash": hash_token(token), "hint": token[:_HINT_CHARS], **fields})


def changed_key(key: ApiKey, limits: Mapping[str, Any]) -> ApiKey:
    """The record of a key with other limits. Raises as `make_key` does."""
    return _validated({**key.model_dump(), **limits})


def _validated(fields: Mapping[str, Any]) -> ApiKey:
    try:
        return ApiKey.model_validate(fields)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        raise InvalidRequest(str(first["loc"][0]), first["msg"]) from exc
