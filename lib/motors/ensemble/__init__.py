"""Fusion of the candidates of several networks, and decisions by a threshold."""
