"""The job table's Lua scripts: what they are called with, and what they and Python both know."""
