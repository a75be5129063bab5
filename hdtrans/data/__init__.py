"""Training data: reading, kinds of data, pairing by name, geometry, the resumable order of samples."""
