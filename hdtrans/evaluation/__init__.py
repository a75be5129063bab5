"""Evaluation: metrics of pictures and maps, networks that score, and reports."""
