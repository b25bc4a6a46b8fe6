"""What turns staged rows into events, sessions, page views and daily figures.

Pure Polars functions of frames: no Dagster, no files but the data of this package, no clock. Everything here
gives the same rows whatever the order of its input and whichever days are computed together.
"""
