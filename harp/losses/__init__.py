"""Training objectives of stage 1. Every loss is returned item by item; the training takes the means."""
