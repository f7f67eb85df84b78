"""How a kind of job runs: from what a model made to files."""
