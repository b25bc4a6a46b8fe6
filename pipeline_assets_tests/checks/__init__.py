"""Tests of what the asset checks compute; that they pass and fail in a deployment is tested end to end."""
