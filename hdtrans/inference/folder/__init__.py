"""A folder in, pictures out."""
