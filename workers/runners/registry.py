"""How each kind of job runs. A further one is a file beside this one, and a line here."""

from __future__ import annotations

from typing import Any

from jobs.kinds.edit import EDIT
from jobs.kinds.generate import GENERATE
from workers.runners.edit import EditRunner
from workers.runners.pictures import GenerateRunner
from workers.runners.runner import Runner

RUNNERS: dict[str, Runner[Any, Any]] = {
    GENERATE.name: GenerateRunner(),
    EDIT.name: EditRunner(),
}
