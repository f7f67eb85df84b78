"""One claimed job on its way to its end, and all that the attempts of a process share."""
