"""
A service that has Celery, of whatever version, and nothing of ours: `python by_celery.py`, set by its environment.

It waits for the ends of its tasks in each way that Celery has, and prints a JSON object a line: what it waited for, the
state that it found, and the result. Its own tasks run in a worker of its own, which it starts beside itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from typing import Any

from celery import Celery, chain, chord, group

URL, QUEUE, OWN_QUEUE = (os.environ[f"SENDER_{name}"] for name in ("URL", "QUEUE", "OWN_QUEUE"))
PATIENCE_S = 60

app = Celery("sender", broker=URL, backend=URL)
app.conf.task_protocol = int(os.environ["SENDER_PROTOCOL"])
app.conf.task_default_queue = OWN_QUEUE  # Where callbacks go that name none, too: their messages come from elsewhere.
app.conf.broker_connection_retry_on_startup = True


@app.task(name="sender.ids")
def ids(made: list[dict[str, Any]]) -> list[str]:
    return [each["id"] for each in made]


@app.task(name="sender.id")
def id_of(made: dict[str, Any]) -> str:
    return str(made["id"])


@app.task(name="sender.failed")
def failed(task_id: str) -> str:
    return task_id


def picture(**fields: Any) -> Any:
    kwargs = {"prompt": "a blue ring", "num_inference_steps": 3, **fields}
    return app.signature("imagemill.generate", kwargs=kwargs, options={"queue": QUEUE}, immutable=True)


def own(task: Any, **options: Any) -> Any:
    return task.s().set(queue=OWN_QUEUE, **options)


def wait(result: Any) -> dict[str, Any]:
    """As a service does: it gets the result, or the exception."""
    try:
        answer = result.get(timeout=PATIENCE_S)
    except Exception as exc:  # noqa: BLE001 - of all kinds, and it is the answer
        answer = f"{type(exc).__name__}: {exc}"
    return {"state": result.state, "result": answer}


def success() -> dict[str, Any]:
    end = wait(picture().apply_async())
    return {**end, "result": end["result"]["status"]}


def failure() -> dict[str, Any]:
    return wait(picture(num_inference_steps=0).apply_async())


def revoked() -> dict[str, Any]:
    result = picture(num_inference_steps=1000).apply_async()
    app.control.revoke(result.id)
    return wait(result)


def expired() -> dict[str, Any]:
    return wait(picture(num_inference_steps=1000).apply_async(time_limit=1))


def linked() -> dict[str, Any]:
    callback = str(uuid.uuid4())
    result = picture().apply_async(link=own(id_of, task_id=callback))
    return {**wait(app.AsyncResult(callback)), "expected": result.id}


def linked_error() -> dict[str, Any]:
    callback = str(uuid.uuid4())
    result = picture(num_inference_steps=0).apply_async(link_error=own(failed, task_id=callback))
    return {**wait(app.AsyncResult(callback)), "expected": result.id}


def chained() -> dict[str, Any]:
    result: Any = chain(picture(), own(id_of)).apply_async()
    return {**wait(result), "expected": result.parent.id}


def grouped() -> dict[str, Any]:
    result: Any = group([picture(), picture()]).apply_async()
    end = {"state": "SUCCESS", "result": ids(result.get(timeout=PATIENCE_S))}
    return {**end, "expected": [each.id for each in result.results]}


def chorded() -> dict[str, Any]:
    result: Any = chord([picture(), picture(), picture()], own(ids)).apply_async()
    return {**wait(result), "expected": [each.id for each in result.parent.results]}


def chorded_with_a_failure() -> dict[str, Any]:
    result = chord([picture(), picture(num_inference_steps=0)], own(ids)).apply_async()
    return wait(app.AsyncResult(result.id))  # Of the body alone: its parts fail before it does.


WAYS = (success, failure, revoked, expired, linked, linked_error, chained, grouped, chorded, chorded_with_a_failure)


def main() -> None:
    command = [sys.executable, "-m", "celery", "-A", "by_celery", "worker", "-Q", OWN_QUEUE, "-P", "solo"]
    options = ["-l", "ERROR", "--without-gossip", "--without-mingle"]
    with subprocess.Popen([*command, *options], stdout=sys.stderr) as worker:
        try:
            for way in WAYS:
                sys.stdout.write(json.dumps({"what": way.__name__, **way()}) + "\n")
                sys.stdout.flush()
        finally:
            worker.terminate()


if __name__ == "__main__":
    main()
