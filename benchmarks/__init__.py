"""Speed and memory of the pipeline beside the plainest script that makes the same tables; see `make bench`."""
