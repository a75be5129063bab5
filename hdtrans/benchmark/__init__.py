"""Measures speed and memory in pairs: hdtrans, the way of the original programs, and what the machine can do."""
