"""From an experiment and its samples to averaged weights."""
