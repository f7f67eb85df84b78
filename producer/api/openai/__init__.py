"""What OpenAI's clients expect of an image API: `POST /v1/images/generations`, its stream, and its error object."""
