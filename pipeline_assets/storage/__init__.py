"""All bytes of a deployment: one small interface over a local folder or an object store.

What belongs here: verbs on named bytes (`Store`), and how Polars, DuckDB and pyarrow are given them. What does not:
what any of them means or counts; the ledger knows that.
"""
