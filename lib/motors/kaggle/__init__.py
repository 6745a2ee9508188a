"""The competition's data from Kaggle, and datasets, notebook and submission to Kaggle, all by its own client."""

from motors.former import names_of

__getattr__ = names_of(__name__)  # names of version 0.1
