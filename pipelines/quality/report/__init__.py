"""One self-contained HTML page about a curation run, its version, and what was trained on it."""
