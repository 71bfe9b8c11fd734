"""Which features a fit looks at where they are many for the rows: the path of forward selection, cut by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import chi2

FOLDS = 5
LONGEST = 50
"""Most blocks that are taken."""


def selected_blocks(blocks: Sequence[np.ndarray], y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Numbers of the blocks of centred columns (n, k) that predict `y` (n, outputs) together, by squared error.

    One block after the other is taken, the one least likely by chance for what the others leave; how many is the number with the
    least error in cross-validation, whose folds each take blocks of their own choice.
    """
    fold = np.arange(len(y)) % FOLDS
    errors = [_selection_path(blocks, y, np.where(fold == k, 0.0, w))[1] * (w * (fold == k)) for k in range(FOLDS)]
    steps = min(map(len, errors))
    number = int(np.sum([e[:steps].sum(1) for e in errors], axis=0).argmin())
    return np.array(_selection_path(blocks, y, w)[0][:number], int)


def _selection_path(blocks: Sequence[np.ndarray], y: np.ndarray, w: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Blocks in the order in which they are taken, and the squared errors (1 + steps, n) along the way; rows of weight 0 are tried."""
    ends = np.cumsum([0] + [b.shape[1] for b in blocks])
    z, share = np.concatenate(blocks, axis=1), w / w.sum()
    z, left = z - share @ z, y - share @ y
    whole = np.maximum(share @ z**2, 1e-300)
    freedom = np.diff(ends) * y.shape[1]
    taken: list[int] = []
    errors = [(left**2).sum(1)]
    while len(taken) < min(LONGEST, len(blocks), (w > 0).sum() // 4):
        size = share @ z**2
        apart = size > 1e-6 * whole
        dispersion = np.maximum(share @ left**2, 1e-300)
        gain = (
            np.where(apart[:, None], ((z.T * share) @ left) ** 2 / np.maximum(size, 1e-300)[:, None], 0.0) / dispersion
        )
        chance = chi2.logsf(w.sum() * np.add.reduceat(gain.sum(1), ends[:-1]), freedom)
        chance[taken] = 0.0
        best = int(chance.argmin())
        if not chance[best] < 0:
            break
        for c in range(ends[best], ends[best + 1]):
            size_c = share @ z[:, c] ** 2
            if size_c > 1e-6 * whole[c]:
                q = z[:, c] / np.sqrt(size_c)
                z, left = z - np.outer(q, (share * q) @ z), left - np.outer(q, (share * q) @ left)
        taken.append(best)
        errors.append((left**2).sum(1))
    return taken, np.array(errors)
