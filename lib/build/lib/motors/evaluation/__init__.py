"""How good candidates are: the competition's score, curves, intervals."""
