"""Scores of candidates: the competition's F2, curves, intervals."""
