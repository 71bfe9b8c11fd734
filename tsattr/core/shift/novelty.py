"""How far rows lie from clean ones: distances in and off the subspace that data fill, to neighbours, of spectra and steps.

Every distance here is a plain number for each row, in no unit; what it is for clean rows tells what is far, see
:func:`clean_limit`.
"""

from __future__ import annotations

import math

import numpy as np

from ..axes import Axes

SHARE = 0.99
"""Share of clean rows that a limit lets pass."""

_VARIANCE = 0.95  # of the clean data: what a principal subspace keeps
_COMPONENTS = 100
_EXACT = 300  # a full decomposition takes well under a second up to this many rows or columns
_NEIGHBOURS = 5
_BANDS = 12
_NEGLIGIBLE = 1e-3  # standard deviations a cell: less is no shift, even where clean rows keep to a subspace exactly


def clean_limit(scores: np.ndarray) -> float:
    """The smallest of `scores` that a further clean one exceeds with a probability of at most 1 %.

    That is the ``ceil(0.99 (n + 1))``-th smallest of n scores that are exchangeable with it. With n < 99 there is none:
    the largest is taken, which a further one exceeds once in n + 1 times.
    """
    rank = min(math.ceil(SHARE * (len(scores) + 1)), len(scores))
    return float(np.partition(scores, rank - 1)[rank - 1])


class Standardiser:
    """Cells as deviations from their clean mean in standard deviations of their channel; categories as indicators.

    A missing cell deviates by nothing; with `gaps` that it is missing is one more column, which deviates in a cell that clean rows
    never, or always, miss as if one of them did otherwise. A category's code becomes one column for each code that clean data
    have; one that never varies is measured in its own units.

    Parameters
    ----------
    rows
        Clean rows (n, \\*shape), NaN where missing.
    channels
        Axes of `rows` that hold unlike quantities side by side; the other cells share a standard deviation.
    nominal
        Bool of a row's shape, True for codes of categories; None where there are none.
    gaps
        Whether a missing cell is a state, and not just unknown.
    """

    def __init__(
        self, rows: np.ndarray, channels: tuple[int, ...], nominal: np.ndarray | None, gaps: bool = False
    ) -> None:
        self.gaps = gaps
        shape, flat = rows.shape[1:], rows.reshape(len(rows), -1)
        coded = np.zeros(flat.shape[1], bool) if nominal is None else nominal.reshape(-1)
        levels = [(c, v) for c in np.flatnonzero(coded) for v in np.unique(flat[~np.isnan(flat[:, c]), c])]
        self.numeric = np.flatnonzero(~coded)
        self.cell = np.array([c for c, _ in levels], int)
        self.code = np.array([v for _, v in levels], float)

        columns = self._columns(flat)
        known = ~np.isnan(columns)
        count = np.maximum(known.sum(0), 1)
        self.mean = np.where(known, columns, 0).sum(0) / count
        variance = (np.where(known, columns - self.mean, 0) ** 2).sum(0) / count
        kinds = [n if 1 + a in channels else 1 for a, n in enumerate(shape)]
        channel = np.broadcast_to(np.arange(math.prod(kinds)).reshape(kinds), shape).reshape(-1)[self.numeric]
        states = flat.shape[1] if gaps else 0
        own = math.prod(kinds) + np.arange(len(levels) + states)
        owner = np.unique(np.concatenate([channel, own]), return_inverse=True)[1]
        pooled = np.sqrt(np.bincount(owner, variance) / np.bincount(owner))[owner]
        least = np.ones(len(pooled))
        least[len(least) - states :] = len(flat) ** -0.5
        self.scale = np.where(pooled > 0, pooled, least)

    def _columns(self, flat: np.ndarray) -> np.ndarray:
        states = [np.isnan(flat).astype(np.float64)] if self.gaps else []
        if not len(self.cell):
            return np.concatenate([flat, *states], 1) if states else flat
        codes = flat[:, self.cell]
        indicators = np.where(np.isnan(codes), np.nan, codes == self.code)
        return np.concatenate([flat[:, self.numeric], indicators, *states], 1)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Rows (r, \\*shape) as columns (r, columns)."""
        deviation = (self._columns(rows.reshape(len(rows), -1)) - self.mean) / self.scale
        return np.asarray(np.nan_to_num(deviation, copy=False, nan=0.0))

    def with_means(self, rows: np.ndarray) -> np.ndarray:
        """Rows (r, \\*shape) of numbers with the clean mean at missing cells."""
        mean = self.mean[: math.prod(rows.shape[1:])]
        return np.where(np.isnan(rows), mean.reshape(rows.shape[1:]), rows)


class Subspace:
    """The principal subspace of clean rows, which holds 95 % of their variance, with the distances in it and from it.

    With scores t along the components, of clean variance l: ``mahalanobis = sqrt(sum t^2 / l)`` is Hotelling's T, and
    ``residual = |x - mean - sum t v|`` the square root of Q (SPE), what no component explains. Jackson and Mudholkar,
    1979. At least three clean rows are kept for each component, whose variance would say little otherwise.

    Parameters
    ----------
    columns
        Clean rows (n, columns) without missing values, in comparable units.
    seed
        Of the randomised decomposition that large data take.
    components
        Number of components, instead of as many as hold that variance.
    """

    def __init__(self, columns: np.ndarray, seed: int, components: int | None = None) -> None:
        from sklearn.decomposition import PCA

        n, width = columns.shape
        self.mean = columns.mean(0)
        if not (columns != columns[0]).any():  # no direction to speak of: everything else is off it
            self.components, self.deviation = np.zeros((1, width)), np.ones(1)
        else:
            solver = "full" if min(n, width) <= _EXACT else "randomized"
            most = components or max(1, min(width, (n - 1) // 3, _COMPONENTS))
            pca = PCA(most, svd_solver=solver, random_state=seed % 2**32).fit(columns)
            enough = 1 + int(np.searchsorted(pca.explained_variance_ratio_.cumsum(), _VARIANCE))
            kept = enough if components is None else components
            self.components = pca.components_[:kept]
            self.deviation = np.sqrt(pca.explained_variance_[:kept])
        self.complete = len(self.components) == width > 1
        self.least_residual = _NEGLIGIBLE * math.sqrt(width)
        self.clean = self.scores(columns)

    def scores(self, columns: np.ndarray) -> np.ndarray:
        """Coordinates (r, components) in the subspace."""
        return np.asarray((columns - self.mean) @ self.components.T)

    def mahalanobis(self, scores: np.ndarray) -> np.ndarray:
        """Mahalanobis distance (r,) in the subspace."""
        return np.asarray(np.linalg.norm(scores / self.deviation, axis=1))

    def residual(self, columns: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Distance (r,) from the subspace; 0 where it is the whole space."""
        if self.complete:
            return np.zeros(len(columns))
        return np.asarray(np.linalg.norm(columns - self.mean - scores @ self.components, axis=1))

    def neighbour(self, scores: np.ndarray) -> np.ndarray:
        """Mean distance (r,) to the five nearest clean rows in the subspace, which need not fill it as one cloud."""
        from scipy.spatial.distance import cdist

        distance = cdist(scores, self.clean)
        nearest = min(_NEIGHBOURS, distance.shape[1])
        return np.asarray(np.partition(distance, nearest - 1, axis=1)[:, :nearest].mean(1))


class Spectrum:
    """Distance of log power spectra along one axis from those of clean rows.

    ``sqrt(mean ((log P - m) / s)^2)`` over channels and frequency bands, with P the mean periodogram (Hann taper) of a
    channel's series in a band, m and s the clean mean and standard deviation of log P. Bands widen with frequency. A
    millionth of a channel's clean power is added to P, so that a flat series is far off and not infinitely so.

    Parameters
    ----------
    rows
        Clean rows (n, \\*shape) without missing values.
    time
        Axis of `rows` along which spectra are taken; samples count as evenly spaced.
    channels
        Axes kept apart; over the others, power is averaged.
    """

    fewest = 16
    """Cells along time below which there are too few frequencies."""

    def __init__(self, rows: np.ndarray, time: int, channels: tuple[int, ...]) -> None:
        self.time = time
        self.rest = tuple(a for a in range(1, rows.ndim) if a not in (*channels, time))
        last = rows.shape[time] // 2
        self.edges = np.unique(np.geomspace(1, last + 1, _BANDS + 1).astype(int))
        power = self._power(rows)
        self.floor = np.maximum(1e-6 * power.mean((0, -1), keepdims=True), np.finfo(float).tiny)
        logs = np.log(power + self.floor)
        self.mean, self.deviation = logs.mean(0), np.maximum(logs.std(0, ddof=1), _NEGLIGIBLE)

    def _power(self, rows: np.ndarray) -> np.ndarray:
        """Power (r, \\*channels, bands)."""
        from scipy.signal import periodogram

        power = periodogram(rows, window="hann", detrend="constant", axis=self.time)[1]
        power = np.moveaxis(power, self.time, -1)
        power = power.mean(tuple(a - (a > self.time) for a in self.rest))
        bands = np.add.reduceat(power[..., : self.edges[-1]], self.edges[:-1], axis=-1)
        return np.asarray(bands / np.diff(self.edges))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Distances (r,)."""
        deviation = (np.log(self._power(rows) + self.floor) - self.mean) / self.deviation
        return np.asarray(np.sqrt((deviation**2).reshape(len(rows), -1).mean(1)))


class Jumps:
    """Jumps where a removed stretch meets what is present, in units of clean first differences along time.

    ``sqrt(mean (|x_s - x'_(s-1)| / d_c)^2)`` over the edges of the stretch, d_c the root mean square of the first
    differences of channel c; `limit` is what 99 % of the clean differences stay within.

    Parameters
    ----------
    rows
        Clean rows (n, \\*shape), NaN where missing.
    time
        Axis of `rows` along which cells follow each other.
    channels
        Axes kept apart.
    """

    def __init__(self, rows: np.ndarray, time: int, channels: tuple[int, ...]) -> None:
        self.time = time
        step = np.diff(rows, axis=time)
        known = ~np.isnan(step)
        pooled = tuple(a for a in range(rows.ndim) if a not in channels)
        square = np.where(known, step, 0) ** 2
        rms = np.sqrt(square.sum(pooled, keepdims=True) / np.maximum(known.sum(pooled, keepdims=True), 1))
        self.rms = np.where(rms > 0, rms, 1)
        clean = np.abs(step / self.rms)[known]
        self.limit = clean_limit(clean) if len(clean) else math.nan

    def __call__(self, rows: np.ndarray, absent: np.ndarray) -> np.ndarray:
        """Root mean square of the jumps (r,); NaN for a row without edges, such as one that is removed as a whole."""
        step = np.diff(rows, axis=self.time) / self.rms
        edge = np.diff(absent, axis=self.time) & ~np.isnan(step)
        axes = tuple(range(1, rows.ndim))
        count = edge.sum(axes)
        square = (np.where(edge, step, 0) ** 2).sum(axes)
        return np.where(count > 0, np.sqrt(square / np.maximum(count, 1)), np.nan)


class VariableReference:
    """What clean rows of one variable are like, and how far others are from them, whatever the order of its dims.

    Parameters
    ----------
    rows
        Clean rows (n, cells), NaN where missing.
    axes
        The variable's dims. Spectra and steps are taken along what is time, where it has enough cells.
    seed
        As for :class:`Subspace`.
    sized_as
        A reference of more rows, whose number of components is taken.
    gaps
        As for :class:`Standardiser`.
    """

    def __init__(
        self, rows: np.ndarray, axes: Axes, seed: int, sized_as: VariableReference | None = None, gaps: bool = False
    ) -> None:
        self.shape = axes.shape
        self.order = tuple(np.argsort(axes.dims).tolist())
        names = [axes.dims[a] for a in self.order]
        channels = tuple(1 + names.index(d) for d in axes.channels)
        called = axes.called("time")
        time = 1 + names.index(called) if called in names and axes.nominal is None else None
        rows = self._ordered(rows)
        nominal = None if axes.nominal is None else axes.nominal.transpose(self.order)
        self.standardiser = Standardiser(rows, channels, nominal, gaps)
        components = None if sized_as is None else len(sized_as.subspace.components)
        self.subspace: Subspace = Subspace(self.standardiser(rows), seed, components)
        size = 0 if time is None else rows.shape[time]
        self.spectrum = self.jumps = None
        if time is not None and size >= Spectrum.fewest:
            self.spectrum = Spectrum(self.standardiser.with_means(rows), time, channels)
        if time is not None and size > 1:
            self.jumps = Jumps(rows, time, channels)

    def _ordered(self, rows: np.ndarray) -> np.ndarray:
        return rows.reshape(-1, *self.shape).transpose(0, *(1 + a for a in self.order))

    def distances(self, rows: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Distances (r,) of rows (r, cells) by name, and their coordinates (r, components) in units of clean spread."""
        rows = self._ordered(rows)
        columns = self.standardiser(rows)
        scores = self.subspace.scores(columns)
        found = {
            "mahalanobis": self.subspace.mahalanobis(scores),
            "residual": self.subspace.residual(columns, scores),
            "neighbour": self.subspace.neighbour(scores),
        }
        if self.spectrum is not None:
            found["spectrum"] = self.spectrum(self.standardiser.with_means(rows))
        return found, scores / self.subspace.deviation

    def limits(self, clean: dict[str, np.ndarray]) -> dict[str, float]:
        """The limit of each distance, from those of clean rows that nothing here was fitted to."""
        found = {name: clean_limit(v) for name, v in clean.items()}
        found["residual"] = max(found["residual"], self.subspace.least_residual)
        return {name: v if v > 0 else 1.0 for name, v in found.items()}

    def join(self, rows: np.ndarray, absent: np.ndarray) -> np.ndarray | None:
        """Jumps (r,) at the edges of what is absent, 1 at the clean limit; None without a time dim."""
        if self.jumps is None:
            return None
        found = self.jumps(self._ordered(rows), self._ordered(absent))
        return found / self.jumps.limit if self.jumps.limit > 0 else found
