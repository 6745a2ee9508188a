"""The commands `motors detect`, `motors download` and `motors kaggle`."""
