"""Measurements: commands that print what stands in the README, and write it into a folder."""
