"""Networks that score pictures."""
