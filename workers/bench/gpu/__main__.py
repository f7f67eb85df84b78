"""
`python -m workers.bench.gpu`: published models at their real sizes on a GPU, in slices of a few minutes.

Made for a machine that is borrowed: it needs torch, diffusers, transformers, accelerate, pydantic, structlog,
cachetools and filelock, and neither Celery nor Redis nor an S3 client. What fails is written down with its reason, what
does not fit as well, and the rest is measured all the same.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from jobs.errors import InvalidConfiguration
from workers.bench.gpu.command import MINUTES, bench_gpu


def main() -> int:
    """Run it; exit code 1 where a measurement failed or a job differs from its solo run, 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m workers.bench.gpu", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/bench"), help="for the results, gpu.json")
    parser.add_argument("--only", action="append", default=[], help="a model, or a pattern of keys; may be repeated")
    parser.add_argument("--resume", action="store_true", help="continue the results that are there")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="after which nothing is begun")
    parser.add_argument("--small", action="store_true", help="small models on the CPU: the same code")
    options = parser.parse_args()
    try:
        done = bench_gpu(
            options.folder,
            only=options.only,
            is_resumed=options.resume,
            minutes=options.minutes,
            is_small=options.small,
        )
    except InvalidConfiguration as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    return 2 if done is None else int(not done.is_well)


if __name__ == "__main__":
    sys.exit(main())
