"""Commands that come in groups: `motors download ...` and `motors kaggle ...`."""
