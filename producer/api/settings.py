"""What the HTTP API needs to know, read once from `IMAGEMILL_API_*` environment variables."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from jobs.process.settings import RoomSettings, read_room


class ApiSettings(RoomSettings):
    """
    Where the API listens, and what it takes from a client.

    Attributes:
        host: Address to listen on; anything but loopback needs an API key.
        port: 0 is any free one.
        require_key: Start without any key, too, and refuse whoever has none, on loopback as well.
        image_links: "store" gives presigned links; "api" gives links to the API, where callers cannot reach the store.
        public_url: Where clients ask it, e.g. https://example.org/images: what links of answers begin with, without a
            slash at the end; empty for what each client asked. If that is not this machine, an API key is needed.
        max_wait_s: The longest `Prefer: wait=N` that is honoured; longer ones wait so long.
        max_body_bytes: Of a request with one job; longer ones get 413.
        max_batch_bytes: Of a request with a batch; longer ones get 413.
        body_timeout_s: How long a client may take to send one, and a second more for each 16 KiB; slower ones get 408.
        log_level: "info" tells of what changes something, and of failures; "debug" of every request.
    """

    model_config = SettingsConfigDict(env_prefix="IMAGEMILL_API_", frozen=True, extra="ignore")

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    require_key: bool = False
    image_links: Literal["store", "api"] = "store"
    public_url: Annotated[
        str,
        Field(pattern=r"^(https?://[A-Za-z0-9._\[\]:-]+(/[^\s?#]*)?)?$"),
        AfterValidator(lambda url: url.rstrip("/")),
    ] = ""
    max_wait_s: Annotated[int, Field(ge=0, le=3600)] = 60
    max_body_bytes: Annotated[int, Field(ge=1_024, le=1 << 30)] = 2 << 20
    max_batch_bytes: Annotated[int, Field(ge=1_024, le=1 << 32)] = 256 << 20
    body_timeout_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 20.0
    log_level: Literal["debug", "info", "warning"] = "info"


def load_api_settings(**overrides: Any) -> ApiSettings:
    """
    Read the API's settings from the environment; `overrides` win.

    Raises:
        InvalidConfiguration: A value is out of bounds, or an `IMAGEMILL_API_*` name is unknown.
    """
    return read_room(ApiSettings, overrides)
