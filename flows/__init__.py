"""Prefect flows: thin wrappers, one task per stage."""
