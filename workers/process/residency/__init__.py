"""Several models on a device that cannot hold all that it serves: loaded when jobs wait for them."""
