"""The editor: a local server and its page, to paint a model's inputs and see the picture."""
