"""Styles: encoding, clusters of training objects, sampling, and the page of clusters."""
