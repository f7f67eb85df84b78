"""What OpenAI's clients expect of an image API: generations and edits, their streams, and the object of an error."""
