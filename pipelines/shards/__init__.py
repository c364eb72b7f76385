"""Published versions: WebDataset shards, index and manifest."""
