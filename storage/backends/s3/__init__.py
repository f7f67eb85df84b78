"""A bucket of a store that speaks S3."""
