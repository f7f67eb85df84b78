"""Models that are in a store: copied here, checked, and kept for the next start, as far as there is room."""
