"""The contract between everything that submits jobs and everything that runs them."""
