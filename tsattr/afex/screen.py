"""Forward selection of blocks of columns, stopped by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import chi2

FOLDS = 5
"""Folds of the cross-validation."""
LONGEST = 50
"""Most blocks that are selected."""


def selected_blocks(blocks: Sequence[np.ndarray], y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Numbers of the blocks of centred columns (n, k) that predict `y` (n, outputs) together, by squared error.

    One block after the other is selected, the one with the smallest p-value for the residual; their number is the one of least
    error in cross-validation, each of whose folds selects blocks of its own.
    """
    fold = np.arange(len(y)) % FOLDS
    errors = [_selection_path(blocks, y, np.where(fold == k, 0.0, w))[1] * (w * (fold == k)) for k in range(FOLDS)]
    steps = min(map(len, errors))
    number = int(np.sum([e[:steps].sum(1) for e in errors], axis=0).argmin())
    return np.array(_selection_path(blocks, y, w)[0][:number], int)


def _selection_path(blocks: Sequence[np.ndarray], y: np.ndarray, w: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Blocks in the order of their selection, and the squared errors (1 + steps, n) after each, also of rows of weight 0."""
    ends = np.cumsum([0] + [b.shape[1] for b in blocks])
    z, share = np.concatenate(blocks, axis=1), w / w.sum()
    z, residual = z - share @ z, y - share @ y
    whole = np.maximum(share @ z**2, 1e-300)
    freedom = np.diff(ends) * y.shape[1]
    selected: list[int] = []
    errors = [(residual**2).sum(1)]
    while len(selected) < min(LONGEST, len(blocks), (w > 0).sum() // 4):
        size = share @ z**2
        independent = size > 1e-6 * whole
        dispersion = np.maximum(share @ residual**2, 1e-300)
        gain = (
            np.where(independent[:, None], ((z.T * share) @ residual) ** 2 / np.maximum(size, 1e-300)[:, None], 0.0)
            / dispersion
        )
        log_p = chi2.logsf(w.sum() * np.add.reduceat(gain.sum(1), ends[:-1]), freedom)
        log_p[selected] = 0.0
        best = int(log_p.argmin())
        if not log_p[best] < 0:
            break
        for c in range(ends[best], ends[best + 1]):
            size_c = share @ z[:, c] ** 2
            if size_c > 1e-6 * whole[c]:
                q = z[:, c] / np.sqrt(size_c)
                z, residual = z - np.outer(q, (share * q) @ z), residual - np.outer(q, (share * q) @ residual)
        selected.append(best)
        errors.append((residual**2).sum(1))
    return selected, np.array(errors)
