"""From a checkpoint to pictures: the Translator, and the key maps of the original programs' checkpoints."""
