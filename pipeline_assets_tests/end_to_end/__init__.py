"""The whole pipeline on real files, a real PostgreSQL server and real Dagster runs."""
