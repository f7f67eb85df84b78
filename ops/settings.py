"""What the local stack needs to know, read once from `IMAGEMILL_STACK_*` environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from jobs.process.settings import RoomSettings, read_room

CHECKOUT = Path(__file__).resolve().parent.parent

Port = Annotated[int, Field(ge=0, le=65_535)]


class StackSettings(RoomSettings):
    """The local stack (`make up`)."""

    model_config = SettingsConfigDict(env_prefix="IMAGEMILL_STACK_", frozen=True, extra="ignore")

    folder: Annotated[Path, AfterValidator(Path.absolute)] = CHECKOUT / ".imagemill"
    """Folder for its data."""
    redis_port: Port = 6390
    """Redis' port on loopback; 0, here and below, for any free port."""
    s3_port: Port = 9390
    """Port of the store."""
    flower_port: Port = 5555
    """Port of Flower."""
    api_port: Port | None = 8000
    """Port of the API."""
    api_metrics_port: Port | None = 9464
    """Port of the API's metrics."""
    worker_metrics_port: Port | None = 9465
    """Port of the worker's metrics."""


def load_stack_settings(**overrides: Any) -> StackSettings:
    """
    Read the stack's settings from the environment; `overrides` win.

    Raises:
        InvalidConfiguration: A value is out of bounds, or an `IMAGEMILL_STACK_*` name is unknown.
    """
    return read_room(StackSettings, overrides)
