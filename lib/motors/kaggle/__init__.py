"""The competition's data from Kaggle, and datasets, notebook and submission to Kaggle, all by its own client."""
