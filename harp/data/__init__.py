"""Published shards in, training batches out."""
