"""A random sample of maps of bounded size, and quantiles with intervals from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import Blocks


@dataclass(frozen=True)
class Reservoir:
    """Maps (kept, cells) with the smallest random numbers, and the position of each in time.

    Of any number of maps, in any chunks, these are a random sample without replacement.
    """

    random: NDArray[np.float64]
    position: NDArray[np.int64]
    maps: NDArray[Any]

    def __getitem__(self, rows: slice) -> Reservoir:
        return Reservoir(self.random[rows], self.position[rows], self.maps[rows])

    @classmethod
    def joined(cls, parts: Iterable[Reservoir], size: int) -> Reservoir:
        """The random sample, of at most `size` maps, of several together."""
        random, position, maps = (
            np.concatenate(arrays) for arrays in zip(*((p.random, p.position, p.maps) for p in parts))
        )
        first = np.argsort(random, kind="stable")[:size]
        return cls(random[first], position[first], maps[first])


def quantiles(
    values: NDArray[np.float64], member: NDArray[np.float64], probabilities: Sequence[float], blocks: Blocks
) -> NDArray[np.float64]:
    """Quantiles (3, probabilities, cells) of values (kept, cells), and the ends of their intervals after Woodruff.

    The share of values up to the quantile is a mean, whose interval over blocks (`member` (blocks, kept): which block each
    value is of) is known; the quantile's is read off the distribution.
    """
    ordered, number = np.sort(values, axis=0), np.isfinite(values).sum(0)  # missing ones come last

    def at(share: Any) -> NDArray[np.float64]:
        rank = np.clip(np.ceil(np.nan_to_num(share) * number - 1e-9) - 1, 0, np.maximum(number - 1, 0)).astype(int)
        return np.where(np.isnan(share), np.nan, np.take_along_axis(ordered, rank[None], 0)[0])

    count = member @ np.isfinite(values)
    found = np.empty((3, len(probabilities), values.shape[1]))
    for k, q in enumerate(probabilities):
        found[0, k] = at(q)
        below = member @ (values <= found[0, k])
        with np.errstate(invalid="ignore"):
            share = below.sum(0) / number
        low, high = blocks.mean_interval(np.stack([below, count])).clip(0, 1)
        found[1:, k] = at(q + share - high), at(q + share - low)
    return found
