"""Declared analyses: funnels, retention, paths, conversions, attribution. Imports no Dagster."""
