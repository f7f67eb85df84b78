"""How the UNet model, `shapes`, is trained."""
