"""Runs stages over items: the stage contract, executors, the ledger, the tables."""
