"""How far off the data a removal is."""
