"""The parent of a worker's processes: starts them, starts those again that crash, and says which could not start."""
