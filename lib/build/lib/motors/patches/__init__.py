"""Training samples: which patches of which tomograms, augmented, with their targets."""
