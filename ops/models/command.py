"""The command: find the model, show its entry, write it."""

from __future__ import annotations

from pathlib import Path

from jobs.process.settings import load_settings
from ops.models.adding import make_entry
from ops.models.catalogue_file import with_entry, write
from ops.models.sources.finding import find_source
from producer.cli.output.terminal import print_json, say


def add(
    source: str,
    name: str | None,
    models_file: Path | None,
    revision: str | None,
    config: str | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """
    Add a model to a catalogue.

    Args:
        source: A folder, a file, or the id of a model of the hub.
        name: Of the model; None for one like its source's.
        models_file: The catalogue; None for that of the settings.
        revision: Of the hub, a branch, a tag or a commit; of a folder, a label. None for main, or its index's day.
        config: Of a file, the pipeline whose configuration it has: a folder, or a model of the hub; None for that which
            it looks like.
        dry_run: Write nothing.

    Raises:
        InvalidRequest: The source holds no model that can be served, or the name is taken.
        InvalidConfiguration: The catalogue cannot be read or written.
    """
    file = models_file or load_settings().models_file
    made = make_entry(find_source(source, file, revision, config), file, name)
    text = with_entry(file, made.model.name, made.text)
    if not dry_run:
        write(file, text)
    if as_json:
        print_json({"model": made.model.name, "file": str(file), "written": not dry_run, "entry": made.lines})
        return
    say(made.text)
    if dry_run:
        say(f"not written to {file}")
    else:
        say(f"added to {file}; start workers and API again, and they serve it as {made.model.name}")
