"""Toy street scenes: exact label map, instance map and photo-like picture for any seed."""
