"""Further pipelines, with random weights and small enough for a test: most have no family of their own here."""
