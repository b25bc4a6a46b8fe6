"""User-behaviour data as Dagster assets: exactly-once loading, Polars transforms, PostgreSQL tables.

Nothing happens on import. What Dagster loads is `pipeline_assets.definitions`.
"""
