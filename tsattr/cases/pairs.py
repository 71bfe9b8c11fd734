"""Old and new embeddings of the same samples, and the scale on which a transformation is learnt from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .labels import comparable

FEWEST = 20  # pairs: of fewer, what is held out says nothing
_HELD_OUT = 0.2


@dataclass(frozen=True)
class Pairs:
    """Old and new embeddings of the same samples, side information and blocks, all of them finite."""

    old: np.ndarray
    new: np.ndarray
    side: np.ndarray | None
    blocks: np.ndarray | None
    left_out: int

    @classmethod
    def of(cls, old: Any, new: Any, side: Any, blocks: Any) -> Pairs:
        """Checked: as many of each, and enough of them."""
        arrays = {"old": np.asarray(old, np.float64), "new": np.asarray(new, np.float64)}
        if side is not None:
            arrays["side"] = np.asarray(side, np.float64)
        n = len(arrays["old"])
        if wrong := [f"{name} {a.shape}" for name, a in arrays.items() if a.ndim != 2 or len(a) != n or not a.shape[1]]:
            raise ValueError(
                f"pairs are arrays (pairs, numbers) of as many rows as old has, {n}; got {', '.join(wrong)}"
            )
        if blocks is not None and np.shape(blocks) != (n,):
            raise ValueError(f"blocks has one entry for each of the {n} pairs, got shape {np.shape(blocks)}")
        known = np.all([np.isfinite(a).all(1) for a in arrays.values()], 0)
        if known.sum() < FEWEST:
            raise ValueError(
                f"a transformation is learnt from at least {FEWEST} pairs, samples that both models have embedded; got "
                f"{n}, {known.sum()} of them finite"
            )
        found = cls(arrays["old"], arrays["new"], arrays.get("side"), None if blocks is None else np.asarray(blocks), 0)
        return found.part(known)

    def part(self, where: np.ndarray) -> Pairs:
        """Some of the pairs."""
        side, blocks = (None if v is None else v[where] for v in (self.side, self.blocks))
        return Pairs(self.old[where], self.new[where], side, blocks, self.left_out + int((~where).sum()))

    def given(self) -> tuple[np.ndarray, np.ndarray | None]:
        """What a transformation is given."""
        return self.old, self.side

    @property
    def inputs(self) -> np.ndarray:
        """Old embeddings and side information side by side."""
        return self.old if self.side is None else np.concatenate([self.old, self.side], 1)

    def held_out(self, seed: int) -> np.ndarray:
        """Which pairs are held out: a fifth of them, or of the blocks as they come until they have as many."""
        rng = np.random.default_rng(seed)
        n = len(self.new)
        number = np.arange(n) if self.blocks is None else _numbered(self.blocks)
        if number.max() < 1:
            raise ValueError(
                "blocks names one block alone: some are held out, so that there are two at least; leave blocks out"
            )
        order = rng.permutation(number.max() + 1)
        size = np.bincount(number)[order].cumsum()
        some = 1 + int(np.searchsorted(size[:-1], _HELD_OUT * n))
        kept = np.isin(number, order[: min(some, len(order) - 1)])
        if n - kept.sum() < FEWEST // 2:
            raise ValueError(
                f"with the blocks held out {n - kept.sum()} of {n} pairs are left to learn from: leave blocks out"
            )
        return kept


def _numbered(blocks: np.ndarray) -> np.ndarray:
    """Whole numbers that are equal where blocks are; one that is missing ("", NaN) is a block of its own."""
    names = pd.Series([None if v == "" else v for v in comparable(blocks)], dtype=object)
    number, known = pd.factorize(names, sort=True)
    missing = number < 0
    number[missing] = len(known) + np.arange(missing.sum())
    return np.asarray(number)


@dataclass(frozen=True)
class Scaled:
    """Inputs and outputs on the network's scale: each input number by its own mean and width, outputs by one width."""

    used: np.ndarray
    shift: np.ndarray
    width: np.ndarray
    centre: np.ndarray
    spread: float

    @classmethod
    def of(cls, pairs: Pairs, training: np.ndarray) -> Scaled:
        """From the pairs that are trained on."""
        inputs, outputs = pairs.inputs[training], pairs.new[training]
        used = np.ptp(inputs, 0) > 1e-12 * np.abs(inputs).max(0)
        spread = float(np.sqrt(outputs.var(0).mean()))
        if not used.any() or not spread > 0:
            which = "new embeddings" if used.any() else "old embeddings and side information"
            raise ValueError(f"the {which} are the same in all pairs: nothing can be learnt from them")
        return cls(used, inputs[:, used].mean(0), inputs[:, used].std(0), outputs.mean(0), spread)

    def inputs(self, values: np.ndarray) -> np.ndarray:
        """Those that are used, each of mean 0 and variance 1 in training."""
        return np.asarray((values[:, self.used] - self.shift) / self.width)

    def outputs(self, values: np.ndarray) -> np.ndarray:
        """Of mean 0, and of mean variance 1 over all numbers: so that the errors add up as distances do."""
        return np.asarray((values - self.centre) / self.spread)

    def sizes(self, pairs: Pairs) -> tuple[int, int, int, int]:
        """Numbers used of the old embedding and of the side information, new ones, and the widest layer that so many pairs bear."""
        old = int(self.used[: pairs.old.shape[1]].sum())
        return old, int(self.used.sum()) - old, len(self.centre), max(8, len(pairs.new) // 10)

    @property
    def data(self) -> dict[str, Any]:
        """As the variables of a dataset."""
        found = {"used": ("input", self.used.astype(np.int8)), "shift": ("scaled", self.shift)}
        return found | {"width": ("scaled", self.width), "centre": ("new", self.centre)}
