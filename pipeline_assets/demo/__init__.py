"""Believable traffic with planted faults in known numbers: for the demo, for tests and for benchmarks.

`generator` is the entrance for the demo, `bulk` for benchmarks. `catalogue` is what the shop sells and who comes,
`traffic` turns it into clean events, `delivery` into files with faults, and `truth` says in plain Python what a
correct pipeline must find. Nothing here imports the pipeline, so that the truth is independent of it. No Dagster.
"""
