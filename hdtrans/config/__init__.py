"""The recipe: its schema by section, loading, overrides, and all its problems at once."""
