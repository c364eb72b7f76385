"""The tabletop: paired demonstrations with ground truth."""
