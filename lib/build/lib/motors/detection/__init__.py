"""From a trained network and a tomogram to candidates."""
