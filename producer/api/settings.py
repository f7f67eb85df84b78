"""What the HTTP API needs to know, read once from `IMAGEMILL_API_*` environment variables."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from jobs.process.settings import RoomSettings, read_room

ANY_PAGE = "*"  # Among origins.

# As a browser sends it: no path, not even a slash, nothing in capitals, and no port where it is the scheme's own.
Origin = Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9+.-]*://[^/?#\sA-Z*]+)$")]


def _listed(value: Any) -> Any:
    return [each for each in re.split(r"[,\s]+", value) if each] if isinstance(value, str) else value


def _check_any(origins: tuple[str, ...]) -> tuple[str, ...]:
    if ANY_PAGE in origins and len(origins) > 1:
        raise ValueError("* are all pages, without what browsers add for named ones alone; give it by itself, or names")
    return origins


class ApiSettings(RoomSettings):
    """The HTTP API."""

    model_config = SettingsConfigDict(env_prefix="IMAGEMILL_API_", frozen=True, extra="ignore")

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to listen on; anything but loopback needs an API key."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """Port to listen on; 0 is any free one."""
    require_key: bool = False
    """Start without any key, too, and refuse whoever has none, on loopback as well."""
    image_links: Literal["store", "api"] = "store"
    """`store` gives presigned links; `api` gives links to the API, for callers who cannot reach the store, or who send
    their key along with everything: a store refuses a link then. Both work without a key."""
    public_url: Annotated[
        str,
        Field(pattern=r"^(https?://[A-Za-z0-9._\[\]:-]+(/[^\s?#]*)?)?$"),
        AfterValidator(lambda url: url.rstrip("/")),
    ] = ""
    """Where clients ask it, e.g. `https://example.org/images`: what links of answers begin with, without a slash at the
    end; empty for what each client asked. If that is not this machine, an API key is needed."""
    cors_origins: Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_check_any)] = ()
    """Web pages that may ask from a browser, by their origins, e.g. `https://app.example.org, http://localhost:3000`;
    `*` for all pages, where there are keys. Empty for none."""
    max_wait_s: Annotated[int, Field(ge=0, le=3600)] = 60
    """The longest `Prefer: wait=N` that is honoured; longer ones wait so long."""
    max_body_bytes: Annotated[int, Field(ge=1_024, le=1 << 30)] = 2 << 20
    """Of a request with one job; longer ones get 413."""
    max_batch_bytes: Annotated[int, Field(ge=1_024, le=1 << 32)] = 256 << 20
    """Of a request with a batch; longer ones get 413."""
    body_timeout_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 20.0
    """How long a client may take to send one, and a second more for each 16 KiB; slower ones get 408."""
    log_level: Literal["debug", "info", "warning"] = "info"
    """`info` tells of what changes something, and of failures; `debug` of every request."""


def load_api_settings(**overrides: Any) -> ApiSettings:
    """
    Read the API's settings from the environment; `overrides` win.

    Raises:
        InvalidConfiguration: A value is out of bounds, or an `IMAGEMILL_API_*` name is unknown.
    """
    return read_room(ApiSettings, overrides)
