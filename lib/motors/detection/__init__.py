"""Inference: from tomograms to motor candidates."""
