"""What clean windows are like, learnt from a reference, and how far from them a row is.

A clean window is a whole sample as the model gets it, since that is what the model was trained on and what a removal
turns into something else. Each cell is compared with the same cell of other samples. So a reference is aligned like the
input is (beats on their R peaks, fields by the season); where both are not aligned, as in windows cut anywhere, the means
and covariances are those of shifted windows, and spectrum, join and features tell more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import unmasked
from ..axes import Axes
from .novelty import VariableReference, clean_limit

FEWEST = 20
"""Reference samples without which nothing can be said of what clean data look like."""

_HALVES = 200  # from here on a half leaves the 99 samples that a 99th percentile takes
_FOLDS = 10
MOST = 1000  # reference samples in use: more sharpen the limits little and cost in proportion
_DESCRIBED = 32  # coordinates of each variable

Distances = dict[str, np.ndarray]


@dataclass(frozen=True)
class Diagnosis:
    """How far some rows are from clean ones.

    Attributes
    ----------
    diagnostics
        (rows, :attr:`Detector.names`) distances that are 1 at the limit of clean data, "combined" first; NaN where there is none.
    description
        (rows, numbers) the features of a classifier that tells filled rows from clean ones.
    """

    diagnostics: np.ndarray
    description: np.ndarray


@dataclass(frozen=True)
class _References:
    """The reference of each variable, and that of the model's features where there are any."""

    variables: tuple[tuple[slice, VariableReference], ...]
    features: VariableReference | None

    @classmethod
    def fit(
        cls,
        rows: np.ndarray,
        parts: Sequence[tuple[slice, Axes]],
        features: np.ndarray | None,
        seed: int,
        sized_as: _References | None = None,
        gaps: bool = False,
    ) -> _References:
        """Of some clean rows; with `sized_as`, with its numbers of components."""
        models = [None] * (len(parts) + 1) if sized_as is None else [*sized_as.every, None]
        variables = tuple(
            (at, VariableReference(rows[:, at], axes, seed, model, gaps)) for (at, axes), model in zip(parts, models)
        )
        if features is None:
            return cls(variables, None)
        axes = Axes(("feature",), features.shape[1:])
        return cls(variables, VariableReference(features, axes, seed, models[len(parts)]))

    @property
    def every(self) -> list[VariableReference]:
        """The references of the variables, and of the features last."""
        return [*(v for _, v in self.variables), *([] if self.features is None else [self.features])]

    def distances(self, rows: np.ndarray, features: np.ndarray | None) -> tuple[list[Distances], np.ndarray]:
        """Distances by reference, and coordinates (rows, numbers) in the subspaces of the variables."""
        found, coordinates = zip(*(variable.distances(rows[:, at]) for at, variable in self.variables))
        distances = list(found)
        if self.features is not None and features is not None:
            distances.append(self.features.distances(features)[0])
        return distances, np.concatenate([c[:, :_DESCRIBED] for c in coordinates], 1)

    def join(self, rows: np.ndarray, absent: np.ndarray) -> np.ndarray:
        """The largest jump (rows,) of any variable at the edges of what is absent; NaN without edges in time."""
        found = [variable.join(rows[:, at], absent[:, at]) for at, variable in self.variables]
        return np.asarray(np.fmax.reduce([np.full(len(rows), np.nan), *(f for f in found if f is not None)]))


@dataclass(frozen=True)
class Detector:
    """Clean windows, and how far from them is far. Made by :meth:`fit`.

    Each distance of a row is divided by the 99th percentile of what it is for clean windows that the detector was not
    fitted to, so that 1 is where clean data end:

    - ``mahalanobis`` (T) in the principal subspace that holds 95 % of the clean variance, and ``residual`` (the root of Q)
      off it; cells in standard deviations of their channel. Jackson and Mudholkar, 1979.
    - ``combined``: ``sqrt((T / T_99)^2 + Q / Q_99)``, again over its 99th percentile; sensitive to both. Yue and Qin, 2001.
    - ``neighbour``: mean distance to the five nearest clean windows in the subspace.
    - ``spectrum``: distance of log power spectra along "time".
    - ``join``: root mean square of the jumps where a removed stretch ends, over the 99th percentile of the clean first
      differences of a channel; NaN for a removal without an end in time. Also where nothing is changed, a stretch that
      ends on a steep slope has a jump.
    - ``features``: as ``combined``, of the model's penultimate features.

    All but ``spectrum`` are one-sided: what is smoother than data (a mean, a blur, all zeros for signals about zero) lies
    nearer to their centre than any of them. Spectra and a classifier (:func:`tsattr.core.shift.scores.detector_auc`) find it.

    Of several variables the one farthest off counts. A missing cell is taken for its clean mean and deviates by nothing, but where
    what is absent may be missing: then that it is missing is a state, which clean windows have as often as the reference says.
    """

    references: _References
    limits: tuple[dict[str, float], ...]
    overall: dict[str, float]

    @classmethod
    def fit(
        cls,
        reference: np.ndarray,
        parts: Axes | Sequence[tuple[slice, Axes]],
        *,
        seed: int = 0,
        features: np.ndarray | None = None,
        gaps: bool = False,
    ) -> Detector:
        """Learn what clean windows are like, and how far from that further ones lie.

        With 200 samples or more one half is fitted to and the other calibrates: a further clean window is beyond 1 with
        a probability of at most 1 %. With fewer, tenths take turns in calibrating what the others are fitted to, and the
        detector is fitted to all: a little cautious, and one in (samples + 1) at best. At most 1000 samples are used,
        drawn by the seed. The samples that are explained should be others: one that was fitted to seems too near.

        Parameters
        ----------
        reference
            Clean windows (n, \\*event) or (n, cells), NaN where missing; categories as codes.
        parts
            The axes of the event; for several variables side by side, the slice of cells and the axes of each.
        seed
            Of the halves and of randomised decompositions.
        features
            The model's features (n, features) of the same samples; see :func:`penultimate`.
        gaps
            Whether a missing cell is a state of its own.

        Raises
        ------
        ValueError
            Fewer than 20 samples, infinite values, or another number of cells than the axes have.

        Examples
        --------
        >>> clean = np.random.default_rng(0).normal(size=(400, 3))
        >>> detector = Detector.fit(clean, Axes(("feature",), (3,)))
        >>> rows = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 9.0]])
        >>> dict(zip(detector.names, (detector.diagnose(rows).diagnostics > 1).T.tolist()))["mahalanobis"]
        [False, True]
        """
        parts = [(slice(None), parts)] if isinstance(parts, Axes) else list(parts)
        rows = clean_rows(reference, parts)
        order = reference_subset(len(rows), seed)
        if features is not None:
            features = unmasked(features, np.float64)
            features = np.where(np.isfinite(features), features, np.nan)

        def fitted(at: np.ndarray, sized_as: _References | None = None) -> _References:
            return _References.fit(rows[at], parts, None if features is None else features[at], seed, sized_as, gaps)

        turns: list[list[Distances]] = []
        if len(order) >= _HALVES:
            half = len(order) // 2
            references, held_out = fitted(order[:half]), [order[half:]]
        else:
            references, held_out = fitted(order), np.array_split(order, _FOLDS)
        for fold in held_out:
            others = references if len(held_out) == 1 else fitted(np.setdiff1d(order, fold), references)
            turns.append(others.distances(rows[fold], None if features is None else features[fold])[0])
        clean = [{name: np.concatenate([d[name] for d in each]) for name in each[0]} for each in zip(*turns)]
        limits = tuple(reference.limits(found) for reference, found in zip(references.every, clean))
        far = cls(references, limits, {})._scaled(clean)
        # Never less than a limit: where clean rows keep to a subspace exactly, it is not what they reach.
        return cls(references, limits, {name: max(1.0, clean_limit(v)) for name, v in far.items()})

    @property
    def names(self) -> tuple[str, ...]:
        """The diagnostics, in the order of :attr:`Diagnosis.diagnostics`."""
        variables = [variable for _, variable in self.references.variables]
        return (
            "combined",
            "mahalanobis",
            "residual",
            "neighbour",
            *["spectrum"] * any(v.spectrum is not None for v in variables),
            *["join"] * any(v.jumps is not None for v in variables),
            *["features"] * (self.references.features is not None),
        )

    def diagnose(
        self, rows: np.ndarray, absent: np.ndarray | None = None, features: np.ndarray | None = None
    ) -> Diagnosis:
        """Compare rows with clean windows.

        Parameters
        ----------
        rows
            (r, \\*event) or (r, cells), NaN at cells that are missing or invalid.
        absent
            Bool of the same shape, True where cells were removed; without it there is no join.
        features
            (r, features), if the detector knows the clean ones.
        """
        flat = unmasked(rows, np.float64).reshape(len(rows), -1)
        found, description = self.references.distances(flat, features)
        scaled = {name: v / self.overall[name] for name, v in self._scaled(found).items()}
        description = np.concatenate(
            [description, np.stack([v for name, v in scaled.items() if name != "features"], 1)], 1
        )
        if absent is not None and "join" in self.names:
            scaled["join"] = self.references.join(flat, absent.reshape(flat.shape))
        nothing = np.full(len(flat), np.nan)
        return Diagnosis(np.stack([scaled.get(name, nothing) for name in self.names], 1), description)

    def _scaled(self, found: list[Distances]) -> Distances:
        """Distances by reference, over their limits and combined; of several variables the farthest."""
        within = [{name: v / limits[name] for name, v in d.items()} for d, limits in zip(found, self.limits)]
        combined = [np.hypot(d["mahalanobis"], d["residual"]) for d in within]
        variables = len(self.references.variables)
        out = {"combined": np.maximum.reduce(combined[:variables])}
        for name in ("mahalanobis", "residual", "neighbour", "spectrum"):
            if parts := [d[name] for d in within[:variables] if name in d]:
                out[name] = np.maximum.reduce(parts)
        if len(combined) > variables:
            out["features"] = combined[-1]
        return out


def reference_subset(n: int, seed: int) -> np.ndarray:
    """Positions of the at most 1000 of n reference samples that a detector uses, in random order."""
    return np.random.default_rng(seed).permutation(n)[:MOST]


def clean_rows(reference: np.ndarray, parts: Sequence[tuple[slice, Axes]]) -> np.ndarray:
    """A reference as float64 (n, cells); ValueError where it cannot be one."""
    rows = unmasked(reference, np.float64)
    rows = rows.reshape(len(rows), -1)
    cells = sum(math.prod(axes.shape) for _, axes in parts)
    if rows.shape[1] != cells:
        raise ValueError(f"the reference has {rows.shape[1]} cells a sample, the input {cells}")
    if len(rows) < FEWEST:
        raise ValueError(
            f"a shift is measured against at least {FEWEST} reference samples, got {len(rows)}: fewer cannot tell what is "
            "rare; give more, or none"
        )
    if np.isinf(rows).any():
        raise ValueError("the reference has infinite values; make them NaN if they are missing")
    return rows
