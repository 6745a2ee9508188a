"""Figures, viewers and reports of results."""
