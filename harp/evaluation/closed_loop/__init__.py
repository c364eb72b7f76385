"""Closed-loop evaluation: a policy acts, the environment says whether it did what it was told (paper 4.3, A.6)."""
