"""Ends told to those who do not ask: a loop for each protocol, and what each protocol does."""
