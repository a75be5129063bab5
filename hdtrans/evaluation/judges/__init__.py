"""Networks of metrics: feature networks, segmentation networks, and their published weights."""
