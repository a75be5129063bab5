"""Convert checkpoints of the original programs to ours, and back."""
