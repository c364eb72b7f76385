"""Latent-action labels of published versions."""
