"""The policy server: robots ask over openpi's websocket protocol, one model answers them in batches."""
