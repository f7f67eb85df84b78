"""`./imagemill models`: what can be requested, as the catalogue says, without Redis and workers."""

from __future__ import annotations

from rich.table import Table

from jobs.catalogue.entry import Model
from jobs.catalogue.takes import Takes, takes_of
from producer.cli.output.reporting import JsonFlag, reporting
from producer.cli.output.terminal import Terminal, print_json, say
from producer.client.parts import open_parts

_UNKNOWN = "known to its worker"
_GUIDANCE = {"true": "classifier-free", "embedded": "embedded", "none": "no", None: _UNKNOWN}


def models(as_json: JsonFlag = False) -> None:
    """List the models and what each takes; the first is the default."""
    with reporting(as_json):
        for name, model in open_parts().catalogue.models.items():
            takes = takes_of(model)
            if as_json:
                print_json({"model": name, "family": model.family, **takes.model_dump(mode="json")})
                continue
            say(name)
            table = Table.grid("", "", padding=(0, 2))
            for label, value in _rows(model, takes).items():
                table.add_row(f"  {label}", value)
            Terminal().print(table)


def _rows(model: Model, takes: Takes) -> dict[str, str]:
    limits = model.limits
    return {
        "sides": f"{limits.min_side} to {limits.max_side} pixels, multiples of {takes.side_multiple}",
        "steps": _steps(limits.max_steps, takes),
        "guidance": _guidance(takes),
        "negative prompt": {True: "yes", False: "no", None: _UNKNOWN}[takes.negative_prompt],
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
        return _UNKNOWN
    return takes.guidance if takes.guided_above is None else f"{takes.guidance}, above {takes.guided_above:g}"


def _edits(takes: Takes) -> str:
    if takes.edits is None:
        return _UNKNOWN
    return ", ".join(f"{field} by {way}" for field, way in takes.edits.items()) or "no"
