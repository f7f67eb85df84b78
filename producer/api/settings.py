"""What the HTTP API needs to know, read once from `IMAGEMILL_API_*` environment variables."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from jobs.inputs.heads import MAX_BYTES
from jobs.process.settings import Listed, RoomSettings, read_room

ANY_PAGE = "*"  # Among origins.

# As a browser sends it: no path, not even a slash, nothing in capitals, and no port where it is the scheme's own.
Origin = Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9+.-]*://[^/?#\sA-Z*]+)$")]


def _check_any(origins: tuple[str, ...]) -> tuple[str, ...]:
    if ANY_PAGE in origins and len(origins) > 1:
        raise ValueError("* allows all pages, so no other name may be given with it; give * alone, or a list of names")
    return origins


class ApiSettings(RoomSettings):
    """The HTTP API."""

    model_config = SettingsConfigDict(env_prefix="IMAGEMILL_API_", frozen=True, extra="ignore")

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to listen on; anything but loopback needs an API key."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """Port to listen on; 0 for any free port."""
    require_key: bool = False
    """Require an API key even if none was created yet, on loopback as well."""
    image_links: Literal["store", "api"] = "store"
    """`store` gives presigned links; `api` gives links to the API, for callers who cannot reach the store, or who send
    their key along with everything: a store refuses a link then. Both work without a key."""
    public_url: Annotated[
        str,
        Field(pattern=r"^(https?://[A-Za-z0-9._\[\]:-]+(/[^\s?#]*)?)?$"),
        AfterValidator(lambda url: url.rstrip("/")),
    ] = ""
    """The API's URL for clients, e.g. `https://example.org/images`: links in answers begin with it, no slash at the
    end; empty for the address that each client used. If that is not this machine, an API key is needed."""
    cors_origins: Annotated[tuple[Origin, ...], *Listed, AfterValidator(_check_any)] = ()
    """Origins of web pages that may use the API from a browser, e.g. `https://app.example.org, http://localhost:3000`;
    `*` for all pages, where there are keys. Empty for none."""
    max_wait_s: Annotated[int, Field(ge=0, le=3600)] = 60
    """Maximum of `Prefer: wait=N`, in seconds; longer waits are cut to it."""
    max_body_bytes: Annotated[int, Field(ge=1_024, le=1 << 30)] = 2 << 20
    """Maximum size of a request with one job; larger ones get 413."""
    max_batch_bytes: Annotated[int, Field(ge=1_024, le=1 << 32)] = 256 << 20
    """Maximum size of a request with a batch; larger ones get 413."""
    max_upload_bytes: Annotated[int, Field(ge=1_024, le=MAX_BYTES)] = MAX_BYTES
    """Maximum size of an uploaded file; larger ones get 413. Workers read no larger ones."""
    body_timeout_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 20.0
    """How long a client may take to send one, and a second more for each 16 KiB; slower ones get 408."""
    log_level: Literal["debug", "info", "warning"] = "info"
    """`info` logs requests that change something, and failures; `debug` logs every request."""


def load_api_settings(**overrides: Any) -> ApiSettings:
    """
    Read the API's settings from the environment; `overrides` win.

    Raises:
        InvalidConfiguration: A value is out of bounds, or an `IMAGEMILL_API_*` name is unknown.
    """
    return read_room(ApiSettings, overrides)
