"""The worker process: its parent, its start, its parts, its end."""
