"""Everything that runs jobs. The only folder that imports torch, diffusers and transformers."""
