"""A pipeline, put together from the weights that its entry names."""
