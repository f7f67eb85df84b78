"""Checks what the system needs, from this machine, and gives advice where something is wrong."""
