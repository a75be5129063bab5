"""Checkpoints of the original programs, converted both ways."""
