"""What families of any kind are put together from."""
