"""`./imagemill models list`: what can be requested, as the catalogue says; without Redis and workers, too."""

from __future__ import annotations

from rich.table import Column, Table

from jobs.catalogue.entry import Model
from jobs.catalogue.takes import Takes, takes_of
from producer.cli.models.served import living_workers, say_serving, serving
from producer.cli.output.reporting import JsonFlag, reporting
from producer.cli.output.terminal import Terminal, print_json, say
from producer.client.parts import open_parts

UNKNOWN = "known to its worker"
_GUIDANCE = {"true": "classifier-free", "embedded": "embedded", "none": "no", None: UNKNOWN}


def list_models(as_json: JsonFlag = False) -> None:
    """List the models, what each takes, and who serves it; the first is the default."""
    with reporting(as_json):
        parts = open_parts()
        workers = living_workers(parts)
        for name, model in parts.catalogue.models.items():
            takes, served = takes_of(model), serving(name, workers)
            if as_json:
                shown = {"model": name, "family": model.family, **takes.model_dump(mode="json")}
                print_json({**shown, "workers": served})
                continue
            say(name)
            print_rows(_rows(model, takes) | {"served by": say_serving(served)})


def print_rows(rows: dict[str, str]) -> None:
    """Labels and what they say, indented."""
    table = Table.grid("", Column(overflow="fold"), padding=(0, 2))
    for label, value in rows.items():
        table.add_row(f"  {label}", value)
    Terminal().print(table)


def _rows(model: Model, takes: Takes) -> dict[str, str]:
    limits = model.limits
    return {
        "sides": f"{limits.min_side} to {limits.max_side} pixels, multiples of {takes.side_multiple}",
        "steps": _steps(limits.max_steps, takes),
        "guidance": _guidance(takes),
        "negative prompt": {True: "yes", False: "no", None: UNKNOWN}[takes.negative_prompt],
        "shift": "yes" if takes.shift else "no",
        "prompt": f"up to {takes.max_prompt_chars} characters",
        "edits": _edits(takes),
        "schedulers": ", ".join(takes.schedulers),
    }


def _steps(most: int, takes: Takes) -> str:
    fewer = [f"{steps} with {name}" for name, steps in takes.max_steps.items() if steps < most]
    return ", ".join([f"up to {most}", *fewer])


def _guidance(takes: Takes) -> str:
    if takes.guidance is None:
        return UNKNOWN
    return takes.guidance if takes.guided_above is None else f"{takes.guidance}, above {takes.guided_above:g}"


def _edits(takes: Takes) -> str:
    if takes.edits is None:
        return UNKNOWN
    return ", ".join(f"{field} by {way}" for field, way in takes.edits.items()) or "no"
