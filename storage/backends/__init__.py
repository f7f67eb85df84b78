"""The stores that there are: a file each, or a folder, and a line in `storage.registry`."""
