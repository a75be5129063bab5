"""Writing a prepared folder: files in memory, the writer, the manifest."""
