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
    """Where the local stack keeps its data, and on which loopback ports it listens; 0 is any free one, None is not."""

    model_config = SettingsConfigDict(env_prefix="IMAGEMILL_STACK_", frozen=True, extra="ignore")

    folder: Annotated[Path, AfterValidator(Path.absolute)] = CHECKOUT / ".imagemill"
    redis_port: Port = 6390
    s3_port: Port = 9390
    flower_port: Port = 5555
    api_port: Port | None = 8000
    api_metrics_port: Port | None = 9464
    worker_metrics_port: Port | None = 9465


def load_stack_settings(**overrides: Any) -> StackSettings:
    """
    Read the stack's settings from the environment; `overrides` win.

    Raises:
        InvalidConfiguration: A value is out of bounds, or an `IMAGEMILL_STACK_*` name is unknown.
    """
    return read_room(StackSettings, overrides)
