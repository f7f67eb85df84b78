"""Whether pictures show what their prompts say: held-out captions, checked by arithmetic on pixels."""
