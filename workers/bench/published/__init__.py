"""Published models at their real sizes, with random weights."""
