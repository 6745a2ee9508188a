"""The networks: built from an experiment, saved beside it, loaded from there."""
