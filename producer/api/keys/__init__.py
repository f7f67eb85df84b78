"""Who asks, and where the API may listen."""
