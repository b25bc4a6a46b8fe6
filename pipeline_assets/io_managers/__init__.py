"""How assets are stored: Parquet files of the lake, tables of PostgreSQL.

`lake.py` and `postgres.py` store tables of any project; `booked.py` makes them keep the ledger's books, and `marts.py`
reads among the rows of the model's tables. `frames.py` and `describing.py` hold what they share.
"""
