"""Retrieval, paired distance, projections."""
