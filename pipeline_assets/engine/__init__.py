"""Building tables: from a claim in the ledger to one value that an IO manager publishes. No Dagster here.

What belongs here: reading the inputs that a claim lists, running the transform in batches that fit into memory, and
holding what it makes. What does not: what is built when (`planning`), and what counts (`ledger`).
"""
