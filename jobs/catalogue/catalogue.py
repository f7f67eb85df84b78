"""The models that can be asked for, read from `models.toml` without torch."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.catalogue.entry import Model
from jobs.catalogue.faults import entries_of
from jobs.catalogue.lines import Lines
from jobs.errors import InvalidConfiguration, ModelNotAvailable


class Catalogue:
    """The models by name; the first is the default."""

    def __init__(self, models: list[Model], folder: Path, places: Mapping[str, str] | None = None) -> None:
        """
        Hold some models.

        Args:
            folder: That their sources are relative to.
            places: Where each entry stands, by the model's name: "line 3 of models.toml".
        """
        self.models = {model.name: model for model in models}
        self._folder = folder
        self.places = places or {}
        self._copies: dict[str, Path] = {}

    @classmethod
    def read(cls, path: Path) -> Catalogue:
        """
        Read a catalogue file.

        Raises:
            InvalidConfiguration: The file is missing or wrong.
        """
        try:
            text = path.read_text("utf-8")
        except (OSError, ValueError) as exc:
            raise InvalidConfiguration(f"model catalogue {path}: {exc}") from exc
        return cls.parse(text, path)

    @classmethod
    def parse(cls, text: str, path: Path) -> Catalogue:
        """
        What a catalogue file of this text would be.

        Raises:
            InvalidConfiguration: It is wrong.
        """
        try:
            tables: dict[str, Any] = tomllib.loads(text)
        except ValueError as exc:
            raise InvalidConfiguration(f"model catalogue {path}: {exc}") from exc
        lines = Lines(text)
        models = entries_of(tables, lines, path)
        if not models:
            raise InvalidConfiguration(f"model catalogue {path}: it has no model")
        places = {name: f"line {lines.of(['models', name])} of {path.name}" for name in models}
        return cls([*models.values()], path.resolve().parent, places)

    def source_of(self, model: Model) -> str:
        """The model's folder or file as an absolute path, or its hub id."""
        return self.place_of(model.source)

    def place_of(self, source: str) -> str:
        """
        A folder or file as an absolute path, or what was copied here of it; anything else as it is: a hub id.

        Args:
            source: Relative to the catalogue, or in a store.
        """
        if source in self._copies:
            return str(self._copies[source])
        path = self._folder / source
        return str(path) if path.exists() else source

    def take_copy(self, source: str, copy: Path) -> None:
        """A source that is in a store has been copied to a folder or a file here."""
        self._copies[source] = copy

    def called(self, model: Model) -> str:
        """A model as an error names it: with the line of its entry, where that is known."""
        place = self.places.get(model.name)
        return f"model {model.name} ({place})" if place else f"model {model.name}"

    def find(self, name: str | None) -> Model:
        """
        The model of that name; the default for None.

        Raises:
            ModelNotAvailable: There is none.
        """
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise ModelNotAvailable("model", f"there is no model {name!r}; the models are {', '.join(self.models)}")
        return self.models[name]
