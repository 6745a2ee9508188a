"""Everything that decides a trained network, by name."""
