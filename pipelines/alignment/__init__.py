"""Temporal alignment of a human and a robot demonstration."""
