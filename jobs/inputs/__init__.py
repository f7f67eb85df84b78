"""What jobs are given beside their words: pictures that callers have sent, and how they are found."""
