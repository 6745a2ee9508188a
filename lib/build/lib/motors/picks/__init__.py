"""Points as other programs keep them, written and read."""
