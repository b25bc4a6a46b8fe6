"""Landing to staging: find files, read them without losing a line, write Parquet per event day. No Dagster here."""
