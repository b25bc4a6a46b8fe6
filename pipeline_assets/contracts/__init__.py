"""The schema of every table, declared once.

From these declarations come validation, quarantine reasons, PostgreSQL DDL with comments, the columns
Dagster shows, and random test data. Contract, asset and table share one name. No Dagster here.
"""
