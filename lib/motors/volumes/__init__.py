"""Tomograms: read from any format, resampled, checked."""
