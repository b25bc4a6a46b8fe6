"""The software-defined assets, one module per layer: load, call a transform, return."""
