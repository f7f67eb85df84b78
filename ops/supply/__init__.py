"""What others made and we run: packages by their hashes, images of containers by their digests."""
