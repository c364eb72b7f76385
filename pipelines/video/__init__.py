"""Exact frame access."""
