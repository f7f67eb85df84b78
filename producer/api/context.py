"""What every route may use: made once when the process starts, and closed with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from jobs.deletions.deleter import Deleter
from producer.api.remembered import Remembered
from producer.api.settings import ApiSettings
from producer.api.spool import Spools
from producer.api.views import Views
from producer.client.loop import LoopParts
from producer.client.parts import Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """
    What asks and submits, what the API takes, and how it shows jobs.

    Attributes:
        parts: Of the process; what blocks in them is for the threads of `loop.run`.
        loop: What asks and waits without a thread.
        workers: How many serve each model.
        unread: Messages in lists from which no worker takes any, by queue.
        spools: Answers to batches, until they are sent.
        deleter: Looks for what deleted jobs have left.
        storage_state: "ok", or what is wrong with the image store.
    """

    parts: Parts
    loop: LoopParts
    settings: ApiSettings
    views: Views
    workers: Remembered[dict[str, int]]
    unread: Remembered[dict[str, int]]
    storage_state: Remembered[str]
    deleter: Deleter
    spools: Spools = field(default_factory=Spools)


async def current_context(request: Request) -> Context:
    """The process' own. No thread is needed for it, as FastAPI would think of a plain function."""
    context: Context = request.app.state.context
    return context


CurrentContext = Annotated[Context, Depends(current_context)]
