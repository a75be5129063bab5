"""The losses: functions from tensors to scalars."""
