"""Submits jobs and asks for them, straight over Redis; for threads and for coroutines."""
