"""The job table: every job's record in Redis, changed by small Lua scripts alone."""
