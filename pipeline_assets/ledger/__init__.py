"""Exactly-once loading: what has been read, what counts, and what was built from it.

The ledger lives in PostgreSQL, schema `ledger`, and is the only authority on what counts. No Dagster here.
"""
