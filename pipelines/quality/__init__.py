"""Verdicts with named reasons, and the report people look at."""
