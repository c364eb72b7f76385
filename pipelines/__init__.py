"""Data in, data out: from raw videos to published, aligned, cue-annotated shards."""
