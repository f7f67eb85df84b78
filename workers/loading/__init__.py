"""From an entry of the catalogue to a loaded model, or to a sentence that says why not."""
