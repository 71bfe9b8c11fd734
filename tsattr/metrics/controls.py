"""Random maps, to be scored beside real ones: white noise, and noise as smooth as a given map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..core.arrays import unmasked
from ..core.axes import Axes
from ..core.keys import Key, sample_ids

_WHITE, _SMOOTH = 2**36, 2**37  # streams of random numbers, apart from those of baselines, methods and removals


def sample_key(n: int, *, labels: ArrayLike | None = None, seed: int = 0, draw: int = 0) -> Key:
    """The random key of n samples, known by their labels where there are any, else by their positions.

    Examples
    --------
    >>> sample_key(2, labels=["a", "b"]).rng(1).random() == sample_key(1, labels=["b"]).rng(0).random()
    True
    """
    ids = sample_ids(None if labels is None else np.asarray(labels), n)
    return Key(seed, ids, torch.arange(n), np.full(n, draw, np.int64))


def white_random(maps: ArrayLike, key: Key, dims: Sequence[str]) -> NDArray[np.float64]:
    """Independent numbers U(0, 1) in every cell in which the map has a value.

    Parameters
    ----------
    maps : array (n, *event)
        Used for its shape and its NaN cells, which stay NaN.
    key : Key
        The random key of the n rows, such as of `sample_key`.
    dims : sequence of str
        Names of the event's dims: numbers are drawn by name, so that transposing the maps only transposes them.

    Returns
    -------
    array (n, *event), float64

    Examples
    --------
    >>> white_random([[0.0, np.nan, 5.0]], sample_key(1), ("time",)).round(2).tolist()
    [[0.4, nan, 0.97]]
    """
    maps, order = _checked(maps, dims)
    key, by_name = key.fork(_WHITE), maps.transpose(order)
    drawn = np.array([key.rng(row).random(m.shape) for row, m in enumerate(by_name)]).reshape(by_name.shape)
    return np.where(np.isnan(maps), np.nan, drawn.transpose(np.argsort(order)))


def smooth_random(maps: ArrayLike, key: Key, dims: Sequence[str]) -> NDArray[np.float64]:
    """Random maps as smooth as the given ones: same autocorrelation, other places, other channels.

    Each channel's spectrum over all its continuous dims (time, lat, lon, ...) keeps its moduli and gets random phases,
    ``F^-1[ |F m| exp(i (arg F m + theta)) ]``, theta the phases of the spectrum of white noise; that keeps the circular
    autocorrelation and the mean. All channels of a sample get the same theta, so that what they do together they still
    do together. Then the channels (along lead, channel, feature, variable) change places at random, so that it is not
    known which of them matters. Without continuous dims (a table) that is all. Theiler et al., Physica D 58, 1992.

    Parameters
    ----------
    maps : array (n, *event)
        NaN where there is no value: there it stays NaN. Phases are drawn on the smallest box that holds all values of a
        sample; cells without a value inside it take their channel's mean, and the autocorrelation is then kept only as
        far as they are few. A channel without any value changes places with no other.
    key, dims
        As in `white_random`.

    Returns
    -------
    array (n, *event), float64

    Examples
    --------
    >>> m = np.array([[0.0, 0.0, 4.0, 4.0, 0.0, 0.0]])
    >>> surrogate = smooth_random(m, sample_key(1), ("time",))
    >>> spectra = [np.abs(np.fft.rfft(v)).round(9).tolist() for v in (m, surrogate)]
    >>> spectra[0] == spectra[1], bool((surrogate == m).all())
    (True, False)
    """
    maps, order = _checked(maps, dims)
    channels = Axes(tuple(dims), maps.shape[1:]).channels
    # Channels first and the rest by name, so that the order of the dims changes no draw.
    order = (0, *sorted(order[1:], key=lambda axis: dims[axis - 1] not in channels))
    moved = maps.transpose(order)
    lines = moved.reshape(
        len(maps), int(np.prod(moved.shape[1 : 1 + len(channels)])), *moved.shape[1 + len(channels) :]
    )
    key, out = key.fork(_SMOOTH), np.full(lines.shape, np.nan)
    for row, m in enumerate(lines):
        out[row] = _surrogate(m, key.rng(row))
    return out.reshape(moved.shape).transpose(np.argsort(order))


def _surrogate(m: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """One map (channel, *continuous) with new phases and its channels in a new order."""
    known = ~np.isnan(m)
    out = np.full(m.shape, np.nan)
    if not known.any():
        return out
    # The channels with values, and along each other axis the range that holds them all.
    live, *rest = (np.flatnonzero(known.any(tuple(b for b in range(m.ndim) if b != a))) for a in range(m.ndim))
    inside = np.ix_(live, *(np.arange(at[0], at[-1] + 1) for at in rest))
    values, present = m[inside], known[inside]
    means = np.nanmean(values, axis=tuple(range(1, m.ndim)), keepdims=True)
    values = _new_phases(np.where(present, values, means), rng)
    out[inside] = np.where(present, values[rng.permutation(len(live))], np.nan)
    return out


def _new_phases(m: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A map (channel, *continuous) with random phases, the same for all channels."""
    axes = tuple(range(1, m.ndim))
    if not axes:
        return m
    noise = np.fft.rfftn(rng.standard_normal(m.shape[1:]))
    rotation = noise / np.abs(noise)
    rotation.flat[0] = 1  # the mean stays
    return np.fft.irfftn(np.fft.rfftn(m, axes=axes) * rotation, s=m.shape[1:], axes=axes)


def _checked(maps: ArrayLike, dims: Sequence[str]) -> tuple[NDArray[np.float64], tuple[int, ...]]:
    """Maps as float64, and the order of their axes that puts the event's dims by name."""
    maps = unmasked(maps, np.float64)
    if maps.ndim < 2 or maps.ndim - 1 != len(dims):
        raise ValueError(
            f"maps (samples, cells...) have a name for each dim of cells: {maps.shape} but dims {tuple(dims)}"
        )
    if np.isinf(maps).any():
        raise ValueError(f"maps are finite, or NaN where not known; {int(np.isinf(maps).sum())} cells are infinite")
    return maps, (0, *(1 + int(a) for a in np.argsort(np.asarray(dims))))
