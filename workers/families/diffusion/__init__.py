"""What families of diffusion models have in common, which predict noise: Ho et al. 2020, Rombach et al. 2022."""
