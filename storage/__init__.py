"""Images in S3-compatible storage: keys, upload, links."""
