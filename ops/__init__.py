"""How Imagemill is run and watched: the local stack, its servers, and the commands that start them."""
