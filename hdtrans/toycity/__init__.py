"""Toy street scenes: an exact label map, an instance map and a photo-like picture for any number."""
