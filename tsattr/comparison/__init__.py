"""Trials of explanations, and the verdict on them."""
