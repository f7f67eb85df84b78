"""What families of flow-matching transformers have in common: Lipman et al. 2022, Esser et al. 2024."""
