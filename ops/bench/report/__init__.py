"""How benchmarks measure in turns, and how they report results."""
