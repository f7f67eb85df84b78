"""The HTTP API as one ASGI application. It holds no state of its own: any number of replicas may run side by side."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from jobs.announce.announcer import Announcer
from jobs.broker.reconcile import Reconciler
from jobs.deletions.deleter import Deleter
from jobs.inputs.sent import SentInputs
from jobs.process.settings import Settings
from producer.api.batches import moved
from producer.api.batches import routes as batches
from producer.api.context import Context
from producer.api.files import routes as uploads
from producer.api.freed_memory import give_back_again_and_again
from producer.api.http.errors import handle_errors
from producer.api.http.heads import Heads
from producer.api.http.openapi import describe
from producer.api.http.pages import let_pages_ask
from producer.api.http.request_log import RequestLog
from producer.api.http.slashes import Slashes
from producer.api.jobs import deleting, dropping, events, files
from producer.api.jobs import routes as jobs
from producer.api.keys.admission import Admission
from producer.api.keys.callers import Callers
from producer.api.keys.exposure import is_loopback, needs_key
from producer.api.keys.open_requests import OpenRequests
from producer.api.keys.watch import KeyWatch
from producer.api.links import Links
from producer.api.metrics.metrics import ApiMetrics
from producer.api.openai import edits, images
from producer.api.openai import models as openai_models
from producer.api.openai.errors import respond
from producer.api.settings import ApiSettings
from producer.api.system import docs, health, limits, models, queues
from producer.api.system.surroundings import remembered_storage, remembered_unread, remembered_workers
from producer.api.views import Views
from producer.client.loop import LoopParts
from producer.client.parts import Parts, open_parts
from producer.files.sweep import FileSweep
from storage.deletion import JobObjects
from storage.settings import StorageSettings

_DESCRIPTION = (
    "Text and pictures to images, through a queue. Submit a job, follow it, and fetch its images by their links.\n\n"
    "On this page, *Authorize* takes an API key. Requests sent from here are real: they run as the key's caller, and "
    "show only that caller's jobs. While there is no key, everyone on this machine sees and may do everything."
)
_TAGS = [
    {"name": name} for name in ("jobs", "batches", "files", "models and queues", "OpenAI", "health")
]  # Their order.
_JOIN_S = 5.0  # It may wait for a Redis that does not answer.
# Plain Celery may call a job anything. So what is asked of /v1/jobs/batch is no job's, but for what no batch has; and
# /v1/jobs/batches/events are those of a job called "batches", for a batch is called by its UUID.
ROUTERS = (
    batches.router,
    jobs.router,
    deleting.router,
    dropping.router,
    events.router,
    files.router,
    uploads.router,
    batches.of_one,
    moved.router,
    models.router,
    queues.router,
    limits.router,
    images.router,
    edits.router,
    openai_models.router,
    health.router,
)


def create_app(settings: Settings, storage: StorageSettings, api_settings: ApiSettings | None = None) -> FastAPI:
    """
    The application. It connects when it starts, and lets everybody go who waits when it stops.

    Args:
        settings: The job table's.
        storage: The image store's.
        api_settings: Its own; the defaults if None.
    """
    own = api_settings or ApiSettings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with closing(open_parts(settings, storage)) as parts:
            async with aclosing(LoopParts(parts)) as loop:
                app.state.context = Context(
                    parts=parts,
                    loop=loop,
                    settings=own,
                    views=Views(Links(parts.store), own.public_url, own.image_links),
                    workers=remembered_workers(loop),
                    unread=remembered_unread(loop),
                    storage_state=remembered_storage(loop),
                    deleter=(
                        deleter := Deleter(
                            parts.deletions,
                            settings,
                            JobObjects(parts.store).delete,
                            SentInputs(parts.files, parts.inputs).forget,
                        )
                    ),
                )
                is_local = is_loopback(own.host) and not needs_key(own)
                app.state.callers = Callers(loop.redis, settings, is_local=is_local)
                async with aclosing(KeyWatch(app.state.callers, app.state.open_requests)), _taking_part(parts, deleter):
                    yield

    app = FastAPIOffline(
        title="Imagemill",
        version="1",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        static_url=docs.STATIC,
        redirect_slashes=False,
    )
    app.openapi_tags = _TAGS
    for router in ROUTERS:
        app.include_router(router)
    handle_errors(app, respond)
    describe(app, ROUTERS, own.public_url)
    docs.serve_docs(app)
    app.state.metrics = ApiMetrics()
    app.state.open_requests = OpenRequests()
    app.add_middleware(Slashes)
    app.add_middleware(Heads)
    app.add_middleware(Admission, open_requests=app.state.open_requests)
    app.add_middleware(RequestLog, metrics=app.state.metrics)
    if own.cors_origins:
        let_pages_ask(app, own.cors_origins)  # Outside of all others, so that a page reads every answer.
    return app


@asynccontextmanager
async def _taking_part(parts: Parts, deleter: Deleter) -> AsyncIterator[None]:
    """Put right what was interrupted, send notifications, delete, and give memory back, in threads of their own."""
    stopping = threading.Event()
    reconciler = Reconciler(parts.redis, parts.dispatcher, parts.settings)
    sweep = FileSweep(parts.redis, parts.store, parts.settings)
    loops = {
        "reconciler": reconciler.run,
        "deleter": deleter.run,
        "file sweep": sweep.run,
        "freed memory": give_back_again_and_again,
    }
    threads = [threading.Thread(target=run, args=(stopping,), name=name, daemon=True) for name, run in loops.items()]
    for thread in threads:
        thread.start()
    announcer = Announcer(parts.redis, parts.settings)
    announcer.start()
    try:
        yield
    finally:
        stopping.set()
        deleter.wake()
        await asyncio.to_thread(announcer.stop, _JOIN_S)
        for thread in threads:
            await asyncio.to_thread(thread.join, _JOIN_S)
