"""Tests of the Dagster components."""
