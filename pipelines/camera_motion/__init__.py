"""The camera's own motion in egocentric video, so that tracks can be read as motion against the scene."""
