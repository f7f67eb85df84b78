"""Deletion of what jobs were asked for, and of what they made."""
