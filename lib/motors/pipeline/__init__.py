"""The strict notebook runner, and the graph of all notebooks."""
