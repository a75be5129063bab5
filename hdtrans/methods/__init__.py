"""One file per method: its config, which networks, which losses, in which order."""
