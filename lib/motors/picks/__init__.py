"""Picks, read and written in other programs' formats."""
