"""Model families: what the engine cannot know about a model. One module each; `workers/loading/models.py` picks one."""
