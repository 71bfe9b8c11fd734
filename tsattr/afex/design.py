"""The design matrix of a linear score: kept whole, or where rows are many made piece by piece each time it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

CELLS = 16_000_000
"""Most cells of a matrix of columns that is kept as a whole (128 MB)."""
PIECE = 4_000_000
"""About the number of cells of a piece."""

ALL = slice(None)


class Design:
    """A matrix (n, 1 + m) of columns, the first of ones, of which `make` gives those of some rows (k, m)."""

    def __init__(self, make: Callable[[slice], np.ndarray], rows: int, width: int):
        self.make, self.rows, self.width = make, rows, 1 + width
        small = rows * self.width <= CELLS
        self.size = max(rows, 1) if small else max(PIECE // self.width, 1)
        self.kept = with_ones(make(slice(0, rows))) if small else None

    @classmethod
    def of(cls, z: np.ndarray) -> Design:
        """The design of given columns (n, m)."""
        return cls(lambda rows: z[rows], *z.shape)

    def pieces(self, columns: np.ndarray | slice = ALL) -> Iterator[tuple[slice, np.ndarray]]:
        """Slices of rows, each with some of its columns (k, columns), by default all."""
        all_columns = isinstance(columns, slice) or len(columns) == self.width
        for start in range(0, max(self.rows, 1), self.size):
            rows = slice(start, min(start + self.size, self.rows))
            z = with_ones(self.make(rows)) if self.kept is None else self.kept
            yield rows, z if all_columns else z[:, columns]

    def matrix(self) -> np.ndarray:
        """All columns (n, 1 + m)."""
        return np.concatenate([z for _, z in self.pieces()])

    def scores(self, coef: np.ndarray) -> np.ndarray:
        """The scores (n, k) of coefficients (1 + m, k)."""
        return np.concatenate([z @ coef for _, z in self.pieces()])

    def cross_products(self, r: np.ndarray, columns: np.ndarray | slice = ALL) -> np.ndarray:
        """The products (columns, k) of the columns with `r` (n, k)."""
        products: np.ndarray = sum(z.T @ r[rows] for rows, z in self.pieces(columns))
        return products

    def gram_matrices(self, weights: Sequence[np.ndarray], columns: np.ndarray | slice = ALL) -> list[np.ndarray]:
        """The products (columns, columns) of the columns with each other, one matrix for each of the weights (n,)."""
        parts = ([(z.T * w[rows]) @ z for w in weights] for rows, z in self.pieces(columns))
        total = next(parts)
        for part in parts:
            for whole, one in zip(total, part):
                whole += one
        return total


def with_ones(z: np.ndarray) -> np.ndarray:
    """Columns (n, m) with a column of ones before them."""
    return np.concatenate([np.ones((len(z), 1)), z], axis=1)
