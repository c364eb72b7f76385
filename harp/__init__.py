"""Models and learning: aligned vision encoder (HARP-VE), latent action model (HARP-LAM)."""
