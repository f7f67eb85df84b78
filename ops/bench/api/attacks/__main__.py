"""`python -m ops.bench.api.attacks JSON`: see `attacking.py`."""

from __future__ import annotations

import sys

from ops.bench.api.attacks.attacking import main

if __name__ == "__main__":
    main(sys.argv[1])
