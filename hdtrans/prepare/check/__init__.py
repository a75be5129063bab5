"""Data check: read all data of a training, report findings, propose recipe lines."""
