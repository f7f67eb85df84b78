"""Callers: their API keys, their limits, and where the API may listen."""
