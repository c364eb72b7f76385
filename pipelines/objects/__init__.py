"""The manipulated object: describe, ground, choose keypoints, track."""
