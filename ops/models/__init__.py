"""What a model's files say of it, and the entry of `models.toml` that is made of that. Nothing is loaded."""
