"""Metrics: arrays to numbers."""
