"""Training objectives of stage 1."""
