"""Where the weights of a model are, and whether they can be loaded, as far as files show. Needs no torch."""
