"""Declarations as Dagster's component tree loads them, and the command line with it: below what is built of them."""
