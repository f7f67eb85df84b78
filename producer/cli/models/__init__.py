"""`./imagemill models`: what can be requested, and who serves it."""
