"""Jobs over HTTP, one at a time."""
