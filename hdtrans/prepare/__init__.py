"""Prepare training folders from annotations in common formats, and check such folders."""
