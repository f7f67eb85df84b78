"""
Submit with Celery alone; copy it anywhere, it imports nothing of Imagemill.

`.venv/bin/python examples/submit_with_celery.py redis://127.0.0.1:6390/0`
"""

from __future__ import annotations

import sys

from celery import Celery


def main(redis_url: str) -> None:
    """Send one request by the task's name, and wait for the finished job."""
    app = Celery(broker=redis_url, backend=redis_url)
    prompt = "a yellow star left of a cyan ring on a black background"
    task = app.send_task("imagemill.generate", kwargs={"prompt": prompt}, queue="gpu.shapes-flow")
    job = task.get(timeout=60)
    sys.stdout.write(f"{job['status']} {job['id']}\n{job['images'][0]['key']}\n")


if __name__ == "__main__":
    main(sys.argv[1])
