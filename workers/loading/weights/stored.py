"""Sources that are in a store: which of an entry are, and that they have to be copied here before it is loaded."""

from __future__ import annotations

from jobs.catalogue.catalogue import Catalogue
from jobs.catalogue.entry import Model
from workers.loading.errors import Fault
from workers.loading.weights.hub import IN_STORE


def stored_sources(model: Model) -> list[str]:
    """Those of an entry: the model's own, its configuration's, components' and learned words'."""
    components = (each.source for each in model.components.values())
    said = (model.source, model.config, *components, *model.textual_inversions.values())
    return sorted({each for each in said if each is not None and each.startswith(IN_STORE)})


def stored_fault(catalogue: Catalogue, model: Model) -> Fault | None:
    """The first source in a store that is not copied here; None where all are."""
    for source in stored_sources(model):
        if catalogue.place_of(source) == source:
            return Fault(found=f"{source} is not copied here", advice="start a worker, which does that")
    return None
