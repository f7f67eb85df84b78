"""The built-in model: what it draws, how it is trained, and what checks its pictures."""
