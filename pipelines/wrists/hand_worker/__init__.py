"""Hand models that need a Python environment of their own, each in a child process."""
