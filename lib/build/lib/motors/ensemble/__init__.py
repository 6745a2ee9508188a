"""Many candidate lists become one, and a threshold decides which tomograms have a motor."""
