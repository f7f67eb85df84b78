"""Whether what was loaded is whole, and does what its entry says."""
