"""The tabletop in MuJoCo: paired demonstrations with ground truth, and the closed-loop environment."""

from simulation.gl import prefer_headless

prefer_headless()
