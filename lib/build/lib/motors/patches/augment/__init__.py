"""Augmentations: what is done to a patch is decided at random, then done."""
