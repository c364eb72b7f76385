"""Vision transformer, robot-only adapter, fused encoder."""
