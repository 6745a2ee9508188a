"""Augmentations of patches: drawn at random, then applied."""
