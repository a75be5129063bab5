"""Tests of the editor: its server by requests, its page in a browser."""
