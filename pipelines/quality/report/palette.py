"""Colours that all pictures of the report share."""

HUMAN = "#d9622b"
ROBOT = "#2563a8"
OBJECT = "#1fa36b"
WRIST = "#e11d74"
INK = "#1c2430"
MUTED = "#6b7685"
GRID = "#e4e8ee"
