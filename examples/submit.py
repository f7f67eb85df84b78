"""Submit a prompt with the Python client and save the picture: `PYTHONPATH=. .venv/bin/python examples/submit.py`."""

from __future__ import annotations

import sys

from producer import Client


def main() -> None:
    """Follow one job from submission to file."""
    client = Client()
    job = client.submit("a large red circle on a blue background", seed=7)
    for event in job.events():
        sys.stdout.write(f"{event.type} {event.data}\n")
    image = job.images()[0]
    sys.stdout.write(f"saved {image.save('circle.png')}\n{image.url()}\n")


if __name__ == "__main__":
    main()
