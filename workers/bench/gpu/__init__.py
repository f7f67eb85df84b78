"""Published models on a GPU, measured in slices of a few minutes that continue each other."""
