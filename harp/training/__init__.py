"""Training loop, checkpoints, stage 1."""
