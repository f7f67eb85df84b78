"""Workers: where each of them is, whom they serve, and what stands in lists that they look into, or do not."""
