"""What every command prints, and how: for a person, or as JSON for a script."""
