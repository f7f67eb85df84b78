"""Model families: what the engine cannot know about a model. One module each; `registry.py` finds it by its name."""
