"""
What the job side needs to know of its surroundings, read once from `IMAGEMILL_*` environment variables.

What should stand in no environment, a password, may be a file instead: `imagemill_redis_url` in `/run/secrets`, where
containers have their secrets, or in systemd's `$CREDENTIALS_DIRECTORY`. A variable wins over a file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FilePath,
    IPvAnyNetwork,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from jobs.errors import InvalidConfiguration
from jobs.process.address import check_backend_url, check_redis_url
from jobs.process.kubernetes import is_service_variable
from jobs.process.logs import LogFormat

# Each room reads its own prefix, so that an unknown name can be refused by the room that it was meant for.
_OTHER_ROOMS = (
    *("IMAGEMILL_API_", "IMAGEMILL_S3_", "IMAGEMILL_STORAGE_"),
    *("IMAGEMILL_WORKER_", "IMAGEMILL_STACK_", "IMAGEMILL_DOCTOR_"),
)
_OF_OTHERS = ("IMAGEMILL_STORAGE",)  # which store it is, says `storage.registry`
_CHECKOUT = Path(__file__).resolve().parents[2]

Room = TypeVar("Room", bound=BaseSettings)


# A name, or `*.` and a name; with a port where it is not that of https.
UrlHost = Annotated[str, Field(pattern=r"^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]{0,4})?$")]


class RoomSettings(BaseSettings):
    """
    Settings of one prefix: frozen, and an unknown name with that prefix is an error.

    What Kubernetes sets is no setting, whatever its name.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Pydantic's, with an environment that has only what somebody set for us."""
        if isinstance(env_settings, EnvSettingsSource):
            found = env_settings.env_vars.items()
            env_settings.env_vars = {
                name: value for name, value in found if not is_service_variable(name.upper(), value or "")
            }
        return init_settings, env_settings, dotenv_settings, file_secret_settings


def read_list(value: Any) -> Any:
    """A list as a variable has it: names, with commas or spaces between them."""
    return [each for each in re.split(r"[,\s]+", value) if each] if isinstance(value, str) else value


Listed = (NoDecode, BeforeValidator(read_list))  # Of a setting that is a list.


class Settings(RoomSettings):
    """Redis, the job table and the model catalogue."""

    model_config = SettingsConfigDict(env_prefix="IMAGEMILL_", frozen=True, extra="forbid")

    redis_url: Annotated[str, AfterValidator(check_redis_url)] = "redis://127.0.0.1:6390/0"
    """Job table and Celery broker: a server, with TLS or without, or Sentinels, in a form of `jobs.process.address`."""
    redis_sentinel_master: Annotated[str, Field(min_length=1)] = "mymaster"
    """The Sentinels' name of the Redis master."""
    redis_sentinel_username: str | None = None
    """User of the Sentinels, if they require one."""
    redis_sentinel_password: str | None = None
    """Their password."""
    redis_tls_ca_file: FilePath | None = None
    """Certificates (PEM) of a further CA that may have signed Redis' certificate."""
    redis_tls_cert_file: FilePath | None = None
    """Client certificate (PEM), for a Redis that requires one."""
    redis_tls_key_file: FilePath | None = None
    """Its key (PEM)."""
    redis_tls_verify: Literal["full", "ca", "none"] = "full"
    """Redis' certificate: `full` checks its CA and host name, `ca` only its CA, `none` nothing."""
    result_backend_url: Annotated[str | None, AfterValidator(check_backend_url)] = None
    """Result backend for callers who submit with plain Celery; unset, the Redis of the job table; or `off`."""
    models_file: Path = _CHECKOUT / "models.toml"
    """The model catalogue."""
    release_window: Annotated[int, Field(ge=1, le=100_000)] = 8
    """Unclaimed messages of a queue, all callers together, that may stand in Celery at a time; two for each slot of its
    living workers, where that is more. The rest waits in the table."""
    max_queued: Annotated[int, Field(ge=1)] | None = None
    """How many queued jobs a caller may have, however they were submitted, unless its API key has a limit;
    unset, any number."""
    max_kept_mib: Annotated[int, Field(ge=1)] | None = None
    """How much of Redis a caller's jobs may take, ended ones too, unless its API key says otherwise: when it is full,
    its oldest ended jobs are dropped for new ones. Unset, two fifths of `maxmemory`."""
    max_file_mib: Annotated[int, Field(ge=1)] = 4096
    """How much of the store a caller's uploaded files may take, unless its API key says otherwise. One counts 64 KiB at
    least."""
    file_retention_s: Annotated[int, Field(ge=3600)] = 30 * 24 * 3600
    """How many seconds an uploaded file is kept, unless its caller says otherwise; longer while a job needs it."""
    lease_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 8.0
    """How many seconds a job stays with a silent worker; workers renew four times as often. How soon a lost
    message or a passed deadline is noticed follows it: see `jobs.scripts.limits`."""
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """How often a job may lose its worker before it is dead; and a message from outside the worker that reads it."""
    max_deliveries: Annotated[int, Field(ge=1, le=1_000)] = 20
    """How often it may be handed out without ever beginning."""
    unserved_models: Literal["allow", "warn", "refuse"] = "warn"
    """A job whose model no living worker serves: accepted, accepted with a warning to its sender, or refused."""
    retention_s: Annotated[int, Field(ge=60)] = 7 * 24 * 3600
    """How many seconds records and events are kept after the end of a job."""
    input_url_hosts: Annotated[tuple[UrlHost, ...], *Listed] = ()
    """Hosts whose https URLs jobs may name as inputs, e.g. `images.example.org, *.cdn.example.org, files.local:8443`;
    empty for none."""
    input_url_networks: Annotated[tuple[IPvAnyNetwork, ...], *Listed] = ()
    """Networks that are not public and that these hosts may be in all the same, e.g. `10.1.0.0/16`."""
    input_objects: Annotated[tuple[str, ...], *Listed] = ()
    """What keys of objects of the store begin with that jobs may name as inputs, e.g. `shared/, uploads/{caller}/`;
    `{caller}` is the name of the job's caller. Empty for none."""
    metrics_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Where a worker or an API process serves its metrics to Prometheus: loopback, or an address of the inside."""
    metrics_port: Annotated[int, Field(ge=1, le=65_535)] | None = 9464
    """Its port, or `off`; each process of a worker that has several has the next one."""
    traces_endpoint: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """URL of an OpenTelemetry collector that takes OTLP over HTTP, e.g. http://127.0.0.1:4318."""
    log_format: LogFormat = "text"
    """Of workers and API: `text` for people, `json` for machines."""

    @property
    def result_backend(self) -> str | None:
        """The URL that results go to, for callers who submit by Celery alone; None for nowhere."""
        return None if self.result_backend_url == "off" else self.result_backend_url or self.redis_url

    @field_validator("metrics_port", mode="before")
    @classmethod
    def _may_be_off(cls, value: Any) -> Any:
        return None if value == "off" else value


def load_settings(**overrides: Any) -> Settings:
    """
    Read settings from the environment; `overrides` win.

    Raises:
        InvalidConfiguration: A value is out of bounds, or an `IMAGEMILL_*` name is unknown.
    """
    return read_room(Settings, overrides, skip=_OTHER_ROOMS, others=_OF_OTHERS)


def read_room(
    room: type[Room],
    overrides: dict[str, Any] | None = None,
    skip: tuple[str, ...] = (),
    others: tuple[str, ...] = (),
) -> Room:
    """Read one room's settings, refusing names with its prefix that neither it has nor others do (`skip`: prefixes)."""
    prefix = str(room.model_config["env_prefix"])
    known = {f"{prefix}{name}".upper() for name in room.model_fields}
    try:
        secrets = _secrets_folder()
        own = (name for name, value in os.environ.items() if not is_service_variable(name, value))
        unknown = sorted(
            name
            for name in (*own, *(file.name.upper() for file in (secrets.iterdir() if secrets else ())))
            if name.startswith(prefix) and not name.startswith(skip or "\0") and name not in {*known, *others}
        )
        if unknown:
            raise InvalidConfiguration(
                f"{unknown[0]}: unknown setting; the settings are {', '.join(sorted({*known, *others}))}"
            )
        return room(_secrets_dir=secrets, **(overrides or {}))
    except OSError as exc:
        raise InvalidConfiguration(f"a file of settings cannot be read: {exc}") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "settings"
        raise InvalidConfiguration(f"{prefix}{field.upper()}: {first['msg']}") from exc


def _secrets_folder() -> Path | None:
    folder = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/run/secrets"))
    return folder if folder.is_dir() else None
