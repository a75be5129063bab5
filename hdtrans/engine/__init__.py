"""Training engine: the trainer and one small file per concern. It knows no method, no network and no loss."""
