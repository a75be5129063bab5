"""Translate a folder of inputs to a folder of pictures."""
