"""The producer's commands."""
