"""Runs jobs, as many as the device can: they join and leave a running batch at every step."""
