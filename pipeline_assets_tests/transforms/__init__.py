"""Tests of the transforms, each against a slow and obvious reference in plain Python."""
