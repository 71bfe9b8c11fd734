"""Ways to answer what a model says without some of its input: stretch by stretch, prefix by prefix, densely."""
