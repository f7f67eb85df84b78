"""What families whose denoiser is a UNet have in common: Rombach et al. 2022."""
