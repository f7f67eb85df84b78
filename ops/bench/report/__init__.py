"""How benchmarks measure in turns, and how they tell what they found."""
