"""How assets are stored: Parquet files of the lake, tables of PostgreSQL.

`lake.py` and `marts.py` publish what was built of the tables of this package, each in one transaction with the ledger's
books. `postgres.py` alone stores tables of any project. `frames.py`, `describing.py` and `revisions.py` hold what
they share.
"""
