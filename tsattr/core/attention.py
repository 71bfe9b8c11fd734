"""The mark of a map that a network computes in its forward pass."""

from __future__ import annotations

from torch import nn


class AttentionMap(nn.Module):
    """A module that gives the map (rows, *positions) by which a network weighs its features (rows, channels, *positions).

    The features are its first input: the map's cells lie where theirs do.
    """
