"""Fused and prepacked twins of plain operators, each held against its plain twin."""
