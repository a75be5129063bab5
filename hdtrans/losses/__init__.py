"""Losses: functions from tensors to scalars."""
