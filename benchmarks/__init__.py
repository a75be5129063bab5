"""Comparisons of hdtrans with the 2018 way and with another checkout; not installed."""
