"""Labels and networks disagree: a human looks and decides."""
