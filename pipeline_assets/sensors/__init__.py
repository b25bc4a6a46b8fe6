"""The sensors that start runs by themselves. What is pending or stale is the ledger's to say, not a cursor's."""
