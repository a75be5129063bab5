"""Reports of a training run: progress, curves, previews, and its page."""
