"""The tabletop: paired human and robot demonstrations with ground truth, made in MuJoCo."""

from simulation.gl import prefer_headless

prefer_headless()
