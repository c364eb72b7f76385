"""The latent action model."""
