"""The one strict way to run a notebook, and the graph of all of them."""
