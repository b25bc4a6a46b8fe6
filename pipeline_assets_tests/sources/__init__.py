"""Tests of declarations: their mistakes, and what the staging query makes of files."""
