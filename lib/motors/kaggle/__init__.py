"""Download of the competition's data; upload of datasets, notebook and submission to Kaggle."""

from motors.former import names_of

__getattr__ = names_of(__name__)  # names of version 0.1
