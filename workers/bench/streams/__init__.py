"""Streams of jobs: simulated in virtual time, or served in real time."""
