"""Scores for people: tables and comparison pages."""
