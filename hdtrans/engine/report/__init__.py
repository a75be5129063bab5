"""A training run for people: page, curves, previews, progress."""
