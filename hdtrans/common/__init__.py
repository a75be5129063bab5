"""Shared by all rooms: errors, atomic file writes, the class table, HTML pages."""
