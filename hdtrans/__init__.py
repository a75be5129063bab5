"""High-resolution image-to-image translation in PyTorch."""

__version__ = "0.1.0"
