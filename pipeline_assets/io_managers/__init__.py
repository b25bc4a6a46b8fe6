"""How assets are stored: Parquet files of the lake, tables of PostgreSQL.

Each module can be taken by another project together with `frames.py` and `describing.py`, which hold what they share.
"""
