"""Loaded by Python itself in the processes that a test lets go wrong: the folder is on their PYTHONPATH alone."""

import json
import os

if "FAULTS" in os.environ:
    import faults  # type: ignore[import-not-found]  # beside this file, on the path of the worker

    for _name, _arguments in json.loads(os.environ["FAULTS"]).items():
        getattr(faults, _name)(**_arguments)
