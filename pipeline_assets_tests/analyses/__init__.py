"""Tests of declared analyses."""
