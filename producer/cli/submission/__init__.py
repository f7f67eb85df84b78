"""Submitting from the command line: one job by its options, or a file of prompts."""
