"""Pipelines that have no family of their own here, with random weights and small enough for a test."""
