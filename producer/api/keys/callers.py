"""
The caller of a request, and what it may do: the dependency of every route that needs a key.

A key is the caller of its jobs: it sees only them, and waits behind no other's. Where there never was a key, anyone who
reaches the API may do everything; it then answers on loopback only, see `exposure`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import redis.asyncio
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import Scope

from jobs.errors import InvalidRequest, JobNotFound
from jobs.process.settings import Settings
from jobs.view import JobView
from producer.api.keys.exposure import host_of, is_loopback, proxy_sign
from producer.client.turns import CALLER
from producer.keys.errors import KeyRefused, KindNotAllowed, ModelNotAllowed
from producer.keys.key import ApiKey, KeyLimits
from producer.keys.lookup import KeyLookup
from producer.keys.rates import RateLimits

_HOW = "send it as `Authorization: Bearer …`; `./imagemill keys create NAME` creates one"

_SHOWN_CHARS = 100
_UNLIMITED = KeyLimits()

_bearer = HTTPBearer(auto_error=False, description="An API key, created by `./imagemill keys create`.")
_header = APIKeyHeader(
    name="x-api-key", auto_error=False, description="The same key, for clients that send this header."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """
    Who sends a request.

    Attributes:
        name: The caller of the jobs that it submits.
        key: None where the API has no keys: nothing is refused, and all jobs are seen.
    """

    name: str = "default"
    key: ApiKey | None = None

    @property
    def limits(self) -> KeyLimits:
        """What it may; without a key, as much as with one that has no options."""
        return self.key or _UNLIMITED

    @property
    def scope(self) -> str | None:
        """Whose jobs it sees: its own; None for everybody's."""
        return self.name if self.key else None

    @property
    def quota(self) -> int | None:
        """How many queued jobs it may have, for `Submission.quota`; None for what the settings say."""
        return self.key.max_queued if self.key else None

    @property
    def max_kept_mib(self) -> int | None:
        """How much of Redis its jobs may take, for `Submission.max_kept_mib`; None for what the settings say."""
        return self.key.max_kept_mib if self.key else None

    @property
    def max_file_mib(self) -> int | None:
        """How much of the store its files may take; None for what the settings say."""
        return self.key.max_file_mib if self.key else None

    @property
    def weight(self) -> float:
        """How much of the device it gets, for `Submission.weight`."""
        return self.key.weight if self.key else 1.0

    def own(self, record: JobView) -> JobView:
        """
        The record, if this caller may see it.

        Raises:
            JobNotFound: It may not. Whether there is such a job is nobody else's business.
        """
        if self.scope not in (None, record.caller):
            raise JobNotFound(record.id)
        return record

    def sign(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """
        A request's fields with this caller as theirs. Without keys a request may name any.

        Raises:
            InvalidRequest: It names another.
        """
        named = fields.get("caller")
        if self.key is not None and named not in (None, self.name):
            raise InvalidRequest("caller", f"must be {self.name!r}, the name of the API key; leave it out")
        return {**fields, "caller": self.name if named is None else named}

    def check_model(self, model: str) -> None:
        """Raises `ModelNotAllowed` where the key may not use this model."""
        if self.key is not None and self.key.models is not None and model not in self.key.models:
            raise ModelNotAllowed(model, self.key.models)

    def check_kind(self, kind: str) -> None:
        """Raises `KindNotAllowed` where the key is for some models: a kind without one is none of what it was given."""
        if self.key is not None and self.key.models is not None:
            raise KindNotAllowed(kind, self.key.models)

    def may_use(self, model: str) -> bool:
        """Whether to show a model to this caller."""
        return self.key is None or self.key.models is None or model in self.key.models


class Callers:
    """Knows callers by their keys. One serves a whole process."""

    def __init__(self, client: redis.asyncio.Redis, settings: Settings, *, is_local: bool) -> None:
        """`is_local`: only this machine can reach the API, so that it may be used without keys."""
        self._lookup = KeyLookup(client, settings)
        self._rates = RateLimits(client, settings)
        self._is_local = is_local

    def presumed(self, token: str | None) -> str:
        """Whose a token was when it was last looked up; "" where that never was."""
        return self._lookup.presumed(token) if token else ""

    async def key_of(self, name: str) -> ApiKey | None:
        """The valid key of a caller, if it has one; that is no use of it. Raises `RedisUnavailable`."""
        return await self._lookup.named(name)

    async def identify(self, token: str | None) -> Caller:
        """
        The caller of a request with this token; it counts as one use of the key.

        Raises:
            KeyRefused: There is no such key, or it is revoked; or none came, and there are keys.
            RateExceeded: The key was used as often as it may be.
            RedisUnavailable
        """
        key = await self._lookup.find(token) if token else None
        if key is not None:
            await self._rates.use(key)
            return Caller(name=key.name, key=key)
        if await self._is_open():
            return Caller()
        raise KeyRefused(f"this API key is not valid; {_HOW}" if token else f"this request has no API key; {_HOW}")

    async def still(self, caller: Caller) -> Caller:
        """
        Who sent a request that is open, with what he may now.

        Raises:
            KeyRefused: He is not let in any more. What his request has queued stays.
            RedisUnavailable
        """
        if caller.key is None and await self._is_open():
            return caller
        key = await self._lookup.find_by_hash(caller.key.token_hash) if caller.key else None
        if key is None:
            raise KeyRefused(
                f"{'this API key is no longer valid' if caller.key else 'requests now need an API key'}; {_HOW}"
            )
        return Caller(name=key.name, key=key)

    async def _is_open(self) -> bool:
        return self._is_local and await self._lookup.is_open()


async def sent_token(
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    header: Annotated[str | None, Security(_header)],
) -> str | None:
    """What came in place of a key."""
    return bearer.credentials if bearer else header


SentToken = Annotated[str | None, Depends(sent_token)]


def presumed_caller(scope: Scope) -> str:
    """Whose request this seems to be, by its head and what this process remembers."""
    callers: Callers = scope["app"].state.callers
    return callers.presumed(_token_in(scope["headers"]))


def _token_in(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """As `sent_token`, of a head that nobody has looked at yet."""
    other = None
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            if scheme.lower() == b"bearer":
                return token.strip().decode("latin-1")
        elif name == b"x-api-key":
            other = value.decode("latin-1")
    return other


def callers_of(request: Request) -> Callers:
    """The process' own."""
    callers: Callers = request.app.state.callers
    return callers


async def current_caller(request: Request, token: SentToken) -> Caller:
    """
    Who sends this request; `key_behind` has the key afterwards.

    Raises as `Callers.identify` does; `TooManyConnections` where he has too many open.
    """
    caller = await callers_of(request).identify(token)
    host = request.headers.get("host")
    if caller.key is None and host is not None and not is_loopback(host_of(host)):
        # A browser on this machine sends what a page makes it send, and a page's own name can be made to point here.
        raise KeyRefused(
            f"while there are no API keys, the API answers only as localhost, not as {host[:_SHOWN_CHARS]}"
        )
    sign = proxy_sign(request.scope["http_version"], request.headers) if caller.key is None else None
    if sign is not None:
        raise KeyRefused(
            f"without API keys the API answers only this machine, and a proxy forwarded this request ({sign}); {_HOW}"
        )
    request.state.key = caller.key
    request.state.open_request.admit(caller)
    await request.state.open_request.turn.change(caller.name)
    CALLER.set(caller.name)
    return caller


CurrentCaller = Annotated[Caller, Depends(current_caller)]


def key_behind(request: Request) -> ApiKey | None:
    """The key with which a request was let in; None where there are none."""
    key: ApiKey | None = getattr(request.state, "key", None)
    return key


async def batch_caller(request: Request, caller: CurrentCaller) -> Caller:
    """The same, of a request that sends or reads a batch. Raises `TooManyBatches`, too."""
    request.state.open_request.use_for_batch()
    return caller


async def upload_caller(request: Request, caller: CurrentCaller) -> Caller:
    """The same, of a request that sends a file. Raises `TooManyUploads`, too."""
    request.state.open_request.use_for_upload()
    return caller


UploadCaller = Annotated[Caller, Depends(upload_caller)]
BatchCaller = Annotated[Caller, Depends(batch_caller)]
