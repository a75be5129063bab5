"""Inference: the Translator, folders, tiles, styles, published models, and the originals' checkpoints."""
