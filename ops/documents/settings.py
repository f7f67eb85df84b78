"""`python -m ops.documents.settings`: writes docs/settings.md, from what the settings say of themselves."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from jobs.process.settings import Settings
from ops.doctor.settings import DoctorSettings
from ops.settings import CHECKOUT, StackSettings
from producer.api.settings import ApiSettings
from storage.registry import BACKENDS, backend_of
from storage.settings import Choice
from workers.process.settings import WorkerSettings

FILE = CHECKOUT / "docs" / "settings.md"
CLASSES: tuple[type[BaseSettings], ...] = (
    Settings,
    ApiSettings,
    WorkerSettings,
    Choice,
    *(backend_of(name).settings_class for name in sorted(BACKENDS)),
    StackSettings,
    DoctorSettings,
)

_HEAD = """\
# Settings

Environment variables, read once at the start; a misspelt one is refused by its name. A setting may also be a file of
its name in lower case (`imagemill_redis_url`) in `/run/secrets` or in systemd's `$CREDENTIALS_DIRECTORY`; a variable
wins over a file. What Kubernetes sets for services that are called `imagemill…` (`IMAGEMILL_API_PORT=tcp://…`) is left
alone.

This page is written by `make docs`, from the code.
"""


def document() -> str:
    """The whole page, in Markdown."""
    return "\n".join([_HEAD, *(_section(each) for each in CLASSES)])


def _section(settings: type[BaseSettings]) -> str:
    prefix = str(settings.model_config["env_prefix"])
    lines = [_row(f"{prefix}{name}".upper(), field) for name, field in settings.model_fields.items()]
    about = inspect.cleandoc(settings.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    return "\n".join([f"## {about.rstrip('.')}", "", "| setting | default | what |", "|---|---|---|", *lines, ""])


def _row(variable: str, field: FieldInfo) -> str:
    description = " ".join((field.description or "").split()).replace("|", "\\|")
    return f"| `{variable}` | {_shown(field.default)} | {description} |"


def _shown(default: Any) -> str:
    if default in (None, "", ()):
        return ""
    if isinstance(default, bool):
        return "`true`" if default else "`false`"
    if isinstance(default, Path):
        return f"`{_portable(default)}`"
    return f"`{default}`"


def _portable(path: Path) -> str:
    for folder, shown in ((CHECKOUT, ""), (Path.home(), "~/")):
        if path.is_relative_to(folder):
            return f"{shown}{path.relative_to(folder)}"
    return str(path)


if __name__ == "__main__":
    FILE.write_text(document(), "utf-8")
