"""Per-instance styles: clusters, sampling, and the page that shows them."""
