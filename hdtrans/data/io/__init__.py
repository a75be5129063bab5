"""Bytes to arrays: headers, readers and tar shards."""
