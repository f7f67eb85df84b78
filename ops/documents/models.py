"""`python -m ops.documents.models`: writes the tables and entries of docs/models.md, from ops/models/published.toml."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jobs.catalogue.families import FAMILIES, UNKNOWN, Traits
from ops.models.published import SOURCE, read
from ops.settings import CHECKOUT

FILE = CHECKOUT / "docs" / "models.md"

# The version that is installed with a worker.
_PINNED = CHECKOUT / "requirements" / "worker.txt"

_BYTES_A_PARAMETER = 2  # of bfloat16 and float16

_BLOCK = re.compile(r"(<!-- made by ops\.documents\.models: (\w+) -->\n).*?(<!-- until here -->\n)", re.DOTALL)

Table = Mapping[str, Any]


def document(page: str) -> str:
    """The whole page, with its blocks written anew."""
    return _BLOCK.sub(lambda found: found[1] + "\n" + BLOCKS[found[2]]() + "\n\n" + found[3], page)


def entries() -> str:
    """For each published model, what it is and what to copy."""
    published, text = read()["published"], SOURCE.read_text("utf-8")
    return "\n\n".join(f"{_about(published[name])}:\n\n```toml\n{_entry(name, text)}\n```" for name in published)


def sizes() -> str:
    """Weights of published models: what they take on a disk and in memory."""
    source = read()
    head = ("model", "`family`", "parameters, 10⁹", "weights, GB", "without text encoders, GB")
    rows = (
        (each["title"], f"`{source['models'][name]['family']}`", *_size(each)) for name, each in _items("published")
    )
    return _table(head, rows)


def families() -> str:
    """How models of each family run, and what their jobs may say."""
    head = ("`family`", "pipeline of diffusers", "a pass is", "jobs share a pass with equal", "`guidance_scale`")
    rows = (_family(name, each) for name, each in _items("families"))
    return _table((*head, "`negative_prompt`", "`shift`", "sides", "`compile`"), rows)


def pipelines() -> str:
    """Those that were tried, with the version of diffusers they were tried with."""
    rows = (
        (f"`{name}`", each["of"], _not_taken(each), _SHARES[each.get("shares")]) for name, each in _items("pipelines")
    )
    refused = (f"- {names}: {why}." for names, why in read()["refused"].items())
    table = _table(("pipeline", "of", "does not take", "jobs share a call"), rows)
    return f"With diffusers {version()}:\n\n{table}\n\nRefused when a worker starts:\n\n" + "\n".join(refused)


def version() -> str:
    """Of diffusers, as it is pinned."""
    return str(re.findall(r"^diffusers==(\S+)", _PINNED.read_text("utf-8"), re.MULTILINE)[0])


BLOCKS: dict[str, Callable[[], str]] = {
    "entries": entries,
    "sizes": sizes,
    "families": families,
    "pipelines": pipelines,
}

_SHARES = {
    None: "with equal parameters",
    "not negated": "with equal parameters, and no negative prompt",
    "never": "no: each image is a call of its own",
}

_GUIDANCE = {
    "true": "classifier-free",
    "embedded": "an input of the model",
    "none": "none",
    None: "as the model has it",
}


def _items(table: str) -> Iterable[tuple[str, Table]]:
    tables: dict[str, Table] = read()[table]
    return tables.items()


def _about(published: Table) -> str:
    note = " ".join(published.get("note", "").split()).rstrip(".")
    return f"{published['title']} ({note})" if note else str(published["title"])


def _entry(name: str, text: str) -> str:
    """Its lines in the source, up to an empty one."""
    header = f"[models.{name}]\n"
    return header + text.partition(header)[2].partition("\n\n")[0].rstrip()


def _size(published: Table) -> tuple[str, ...]:
    parameters: dict[str, float] = published["parameters"]
    texts = sum(count for part, count in parameters.items() if part.startswith("text_encoder"))
    both = sum(parameters.values())
    gigabytes = (f"{_BYTES_A_PARAMETER * count:.1f}" for count in (both, both - texts))
    return (f"{both:.1f}", *gigabytes)


def _family(name: str, family: Table) -> tuple[str, ...]:
    traits = FAMILIES.get(name, UNKNOWN)
    alike = ", ".join(f"`{field}`" for field in family["alike"]) or "nothing: sizes and texts differ, too"
    whole = "all steps" if name == "diffusers" else "a step"
    return (f"`{name}`", f"`{family['pipeline']}`", whole, alike, *_takes(traits))


def _takes(traits: Traits) -> tuple[str, ...]:
    negative = {True: "yes", False: "no", None: "as the model has it"}[traits.negative_prompt]
    above = f", above {traits.guided_above:g}" if traits.guidance == "true" else ""
    sides = f"multiples of {traits.side_multiple}" if traits.side_multiple > 1 else "as the model has it"
    return (
        _GUIDANCE[traits.guidance] + above,
        negative,
        "yes" if traits.shift else "no",
        sides,
        "yes" if traits.compile else "no",
    )


def _not_taken(pipeline: Table) -> str:
    return ", ".join(f"`{field}`" for field in pipeline.get("without", ()))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    first, *others = (f"| {' | '.join(row)} |" for row in (head, *rows))
    return "\n".join([first, f"|{'---|' * len(head)}", *others])


if __name__ == "__main__":
    FILE.write_text(document(FILE.read_text("utf-8")), "utf-8")
