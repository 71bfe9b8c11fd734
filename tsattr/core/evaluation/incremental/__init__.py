"""What a removal changes, pushed through the unchanged model over the activations of the intact samples."""
