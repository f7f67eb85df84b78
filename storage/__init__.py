"""Where images are stored: what every store does, the stores that there are, and the keys of what lies in them."""
