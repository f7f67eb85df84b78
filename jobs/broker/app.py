"""The Celery application that producers, workers and Flower share."""

from __future__ import annotations

from celery import Celery
from kombu import Queue

from jobs.broker.addresses import broker_settings, celery_url, sentinel_transport
from jobs.catalogue.catalogue import Catalogue
from jobs.kinds.registry import queues_for
from jobs.names import line_of, queue_of
from jobs.process.settings import Settings, load_settings
from jobs.scripts.ranks import PRIORITY_RANK


def make_app(settings: Settings) -> Celery:
    """
    An app with every setting that the job table relies on.

    Acks are early: a lost message is sent again by the table, and a late ack would run jobs twice.
    """
    backend = settings.result_backend and celery_url(settings.result_backend)
    app = Celery("imagemill", broker=celery_url(settings.redis_url), backend=backend, set_as_current=False)
    catalogue = Catalogue.read(settings.models_file)
    app.conf.update(
        # Declared, so that Flower shows them empty: where others send to, and where the table does.
        task_queues=[Queue(name) for queue in queues_for(catalogue.models) for name in (queue, line_of(queue))],
        task_default_queue=queue_of(next(iter(catalogue.models))),
        task_default_priority=PRIORITY_RANK["normal"],  # On Redis a message's priority is its rank: 0 goes first.
        task_acks_late=False,
        task_ignore_result=settings.result_backend is None,
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        task_track_started=True,
        task_send_sent_event=True,
        worker_send_task_events=True,
        worker_disable_prefetch=True,  # A busy worker would hoard jobs that an idle one could run.
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "priority_steps": sorted(PRIORITY_RANK.values()),
            "socket_timeout": 30,  # A publish can hang forever without.
            "socket_connect_timeout": 10,
            "socket_keepalive": True,
            "health_check_interval": 15,
            **sentinel_transport(settings.redis_url, settings),
        },
        result_expires=24 * 3600,
        redis_socket_timeout=30,  # Of the result backend; Celery's own is two minutes.
        redis_socket_connect_timeout=10,
        redis_socket_keepalive=True,
        redis_backend_health_check_interval=15,
        enable_utc=True,
        **broker_settings(settings),
    )
    return app


def __getattr__(name: str) -> Celery:
    # `celery -A jobs.broker.app` wants an `app` here; code that makes its own app needs no environment.
    if name == "app":
        app = make_app(load_settings())
        # Flower, which takes this one, asks through redis' asyncio client, whose retries are of another kind.
        app.conf.broker_transport_options.get("sentinel_kwargs", {}).pop("retry", None)
        return app
    raise AttributeError(name)
