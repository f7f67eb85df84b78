"""Model families: what the engine cannot know about a model. One module each; `loading.py` picks one."""
