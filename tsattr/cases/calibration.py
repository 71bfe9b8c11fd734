"""How well expected errors agree with actual ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_PARTS = 5


@dataclass(frozen=True, eq=False)
class Calibration:
    """Expected errors beside actual ones, from the surest fifth to the most uncertain; print it.

    Parameters
    ----------
    predicted, actual
        Arrays (pairs,): the expected size of each pair's error, and its actual size, distances in the new model's space.

    Examples
    --------
    >>> print(Calibration(np.array([1.0, 1.0, 2.0, 2.0, 3.0]), np.array([1.0, 1.0, 1.0, 2.0, 3.3])))
    pairs  predicted    actual   ratio
        1      1.000     1.000   1.000
        1      1.000     1.000   1.000
        1      2.000     1.000   2.000
        1      2.000     2.000   1.000
        1      3.000     3.300   0.909
      all      1.949     1.892   1.031   rank correlation 0.825
    """

    predicted: np.ndarray
    actual: np.ndarray

    @property
    def ratio(self) -> float:
        """Root mean square of the expected errors over that of the actual ones: 1 for calibrated ones, below for bold ones."""
        return _size(self.predicted) / max(_size(self.actual), 1e-300)

    @property
    def rank_correlation(self) -> float:
        """Spearman's, between the two: whether the most uncertain are those that are most wrong."""
        from scipy.stats import spearmanr

        if np.ptp(self.predicted) == 0 or np.ptp(self.actual) == 0:
            return float("nan")
        return float(spearmanr(self.predicted, self.actual).statistic)

    def __str__(self) -> str:
        order = np.argsort(self.predicted, kind="stable")
        fifths = [part for part in np.array_split(order, _PARTS) if len(part)]
        lines = [_line(f"{len(part):5d}", Calibration(self.predicted[part], self.actual[part])) for part in fifths]
        whole = f"{_line('  all', self)}   rank correlation {self.rank_correlation:.3f}"
        return "\n".join(["pairs  predicted    actual   ratio", *lines, whole])


def _line(name: str, some: Calibration) -> str:
    return f"{name}{_size(some.predicted):11.3f}{_size(some.actual):10.3f}{some.ratio:8.3f}"


def _size(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))
