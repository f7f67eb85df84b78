"""What a person means by a source of a model, where it is, and what its files say."""
