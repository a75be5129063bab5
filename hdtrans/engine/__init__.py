"""The trainer and one small file per concern: it knows no method, no network and no loss."""
