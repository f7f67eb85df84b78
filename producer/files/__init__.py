"""Files that callers upload: how one is taken in, and how those go that have expired."""
