"""How importance falls off with distance and with lag, and whether the two decays are separable.

Importance is a map of at least 0, such as the mean of ``|attribution|`` over samples: its sum over cells is the mass, and a
cell has a share of it. These functions take a `Pool`, and then give the ends ``<name>_low`` and
``<name>_high`` of intervals over blocks of samples; or a DataArray. Dims that they do not name (a condition, a target, a sample) go
through. With ``null``, the maps of untrained networks (see `controls.null`), ``<name>_null`` (dim ``member``) is beside each result: a
network that sees little looks local whatever it has learnt.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .estimates import Importance, estimate
from .sphere import area_weights, space_dims

_SHARES = (0.5, 0.8, 0.9)


def radial_profile(
    importance: Importance,
    distance: xr.DataArray,
    *,
    area: xr.DataArray | None = None,
    bins: float | Sequence[float] = 500.0,
    shares: Sequence[float] = _SHARES,
    lag: str | None = "lag",
    null: xr.DataArray | None = None,
) -> xr.Dataset:
    """Where the mass lies by distance from the target, beside where the area lies.

    With mass m and area w of the cells, D the set of those in a bin: ``mass_share = sum_D m / sum m``,
    ``area_share = sum_D w / sum w`` over the cells that have a value, ``density = mass_share / area_share``. A map of equal
    importance per area has a density of 1 everywhere; a mass share alone says nothing, as rings grow with distance.

    Parameters
    ----------
    importance
        A `Pool` or a DataArray of at least 0, with the dims of `distance`.
    distance
        Great-circle distance of each cell from the target, km; see `tsattr.climate.distance`.
    area
        Area of each cell, in any unit; by default the cosine of latitude, for a regular grid.
    bins
        Width of the bins, km; or their edges. What lies beyond the last edge counts in the sums only.
    shares
        For which the locality radius is given.
    lag
        Summed over first, where there is such a dim; None leaves it.
    null
        Maps of untrained networks; see `tsattr.climate.null`.

    Returns
    -------
    Dataset
        ``mass_share``, ``area_share`` and ``density`` (dim distance, the middle of a bin, km); ``radius`` (dim share), the
        distance within which at least that share of the mass lies, km; ``area_within`` (dim share), the share of the area
        within that radius.

    Raises
    ------
    ValueError
        Dims of `distance` that the importance lacks, negative importance, edges that do not increase.

    Examples
    --------
    >>> from tsattr.climate import distance
    >>> y = xr.DataArray([[1.0], [1.0]], dims=("lat", "lon"), coords={"lat": [0.0, 60.0], "lon": [0.0]})
    >>> found = radial_profile(y, distance(y, lat=0, lon=0), bins=[0, 5000, 10000])
    >>> found.mass_share.values.tolist(), found.area_share.values.round(3).tolist()
    ([0.5, 0.5], [0.667, 0.333])
    """
    edges = _edges(distance, bins)
    area = xr.ones_like(distance, dtype=float) * (area_weights(distance) if area is None else area)

    def profile(maps: xr.DataArray) -> xr.Dataset:
        _check(maps, distance.dims, area)
        maps = maps.sum(lag, min_count=1) if lag in maps.dims else maps
        w = area.where(maps.notnull().any([d for d in maps.dims if d not in distance.dims]))
        radius, within = xr.apply_ufunc(
            _radius,
            *(maps, w, distance),
            kwargs={"shares": shares},
            input_core_dims=[distance.dims] * 3,
            output_core_dims=[["share"]] * 2,
        )
        out = xr.Dataset({"mass_share": _by_distance(maps, distance, edges), "radius": radius, "area_within": within})
        out["area_share"] = _by_distance(w, distance, edges)
        out["density"] = out["mass_share"] / out["area_share"]
        return _with_units(out.assign_coords(share=list(shares)), radius="km", distance="km")

    return estimate(profile, importance, null, ("mass_share", "area_within"))


def lag_distance(
    importance: Importance,
    distance: xr.DataArray,
    *,
    bins: float | Sequence[float] = 500.0,
    lag: str = "lag",
    null: xr.DataArray | None = None,
) -> xr.Dataset:
    """Share of the mass by lag and distance together: ``mass_share`` (lag, distance), which sums to 1.

    See `radial_profile` for the parameters.

    Examples
    --------
    >>> x = xr.DataArray([[3.0, 1.0], [0.0, 4.0]], dims=("lag", "lon"))
    >>> km = xr.DataArray([0.0, 900.0], dims="lon")
    >>> lag_distance(x, km).mass_share.values.tolist()
    [[0.375, 0.125], [0.0, 0.5]]
    """
    edges = _edges(distance, bins)

    def profile(maps: xr.DataArray) -> xr.Dataset:
        _check(maps, (lag, *distance.dims), distance)
        share = _by_distance(maps, distance, edges, total=(lag, *distance.dims))
        return _with_units(xr.Dataset({"mass_share": share}), distance="km")

    return estimate(profile, importance, null, ("mass_share",))


def lag_profile(
    importance: Importance,
    *,
    lag: str = "lag",
    space: Sequence[Hashable] | None = None,
    shares: Sequence[float] = _SHARES,
    null: xr.DataArray | None = None,
) -> xr.Dataset:
    """How far back in time the mass lies.

    With p the mass at each lag as a share of all, and the lag's size L = abs(lag): ``center = sum p L``; ``efolding``, how much
    further back than its peak the profile has fallen to 1/e of it, lags between interpolated in the logarithm (exact for an
    exponential); ``reach``, the lag up to which at least a share of the mass lies.

    Parameters
    ----------
    importance
        A `Pool` or a DataArray of at least 0, with a dim `lag`, whose coordinate counts back from the present.
    space
        Dims to sum over, where the importance has them; None: those of latitude and longitude.
    shares
        For which the reach is given.
    null
        Maps of untrained networks; see `tsattr.climate.null`.

    Returns
    -------
    Dataset
        ``mass_share`` (lag); ``center``, ``efolding`` (NaN where the profile does not fall so far) and ``reach`` (dim share), in
        units of the lag.

    Raises
    ------
    KeyError, ValueError
        No coordinate along `lag`, or one that runs through both the past and the future.

    Examples
    --------
    >>> lag = np.arange(-12.0, 0.0)
    >>> found = lag_profile(xr.DataArray(np.exp(lag / 3), dims="lag", coords={"lag": lag}))
    >>> found.efolding.round(9).item(), found.center.round(2).item(), found.reach.values.tolist()
    (3.0, 3.3, [3.0, 5.0, 7.0])
    """

    def profile(maps: xr.DataArray) -> xr.Dataset:
        back = lags_back(maps, lag)
        mass = over_space(maps, space)
        share = mass / mass.sum(lag)
        reach = xr.apply_ufunc(
            lambda m, d: _reach(m, d, shares)[0], mass, back, input_core_dims=[[lag]] * 2, output_core_dims=[["share"]]
        )
        efolding = xr.apply_ufunc(_efolding, mass, back, input_core_dims=[[lag]] * 2)
        out = xr.Dataset({"mass_share": share, "reach": reach, "center": share.dot(back, lag), "efolding": efolding})
        units = str(maps[lag].attrs.get("units", "1"))
        out = out.assign_coords({"share": list(shares), lag: maps[lag]})
        return _with_units(out, **dict.fromkeys(("reach", "center", "efolding"), units))

    return estimate(profile, importance, null, ("mass_share",))


def separability(
    importance: Importance,
    *,
    lag: str = "lag",
    space: Sequence[Hashable] | None = None,
    null: xr.DataArray | None = None,
) -> xr.Dataset:
    """Whether the decay with lag is the same everywhere: how close importance is to a product g(lag) h(place).

    With s the singular values of the matrix of importance (lag, place): ``rank1_share = s_1^2 / sum s^2``, 1 where lag and place
    are separable. ``lag_pattern`` is g, the first left singular vector, made to sum to 1. Importance that is at least 0 has a large
    rank-1 share whatever its pattern (its mean alone is of rank 1): read it beside that of the null and of other targets.
    Noise of the pooled map lowers it: the intervals reach further down than up.

    Parameters
    ----------
    importance
        A `Pool` or a DataArray of at least 0, with the dims `lag` and `space`; cells without a value are left out.
    space
        The dims that are a place together; or one, of regions. None: those of latitude and longitude.

    Examples
    --------
    >>> g, h = xr.DataArray([1.0, 2.0], dims="lag"), xr.DataArray([3.0, 1.0, 4.0], dims="lon")
    >>> found = separability(g * h, space=("lon",))
    >>> found.rank1_share.round(12).item(), found.lag_pattern.values.round(3).tolist()
    (1.0, [0.333, 0.667])
    """

    def rank(maps: xr.DataArray) -> xr.Dataset:
        places = space_dims(maps) if space is None else space
        if not places:
            raise ValueError(
                f"the importance has dims {list(maps.dims)}, none of them known as a place; name them: space="
            )
        _check(maps, (lag, *places))
        m = maps.fillna(0)
        # Eigenvectors of the small matrix of lags are the left singular vectors: there are far fewer lags than places.
        gram = xr.dot(m, m.rename({lag: "_other"}), dim=list(places))
        values, vectors = xr.apply_ufunc(
            np.linalg.eigh, gram, input_core_dims=[[lag, "_other"]], output_core_dims=[["_mode"], [lag, "_mode"]]
        )
        first = vectors.isel(_mode=-1)
        share = values.isel(_mode=-1) / values.sum("_mode")
        return _with_units(xr.Dataset({"rank1_share": share, "lag_pattern": first / first.sum(lag)}))

    return estimate(rank, importance, null, ("rank1_share", "lag_pattern"))


def over_space(maps: xr.DataArray, space: Sequence[Hashable] | None) -> xr.DataArray:
    """The sum over those dims of space that the maps have; by default those of latitude and longitude."""
    return maps.sum([d for d in (space_dims(maps) if space is None else space) if d in maps.dims])


def lags_back(maps: xr.DataArray, lag: str) -> xr.DataArray:
    """The size of each lag, as a float (lag,): how far it is back from the present."""
    if lag not in maps.coords or lag not in maps.dims:
        raise KeyError(
            f"lags need a dim {lag!r} with a coordinate that counts back; the importance has {list(maps.dims)}"
        )
    values = maps[lag]
    if values.dtype.kind not in "iuf" or (bool((values < 0).any()) and bool((values > 0).any())):
        raise ValueError(
            f"the lags are numbers of one sign, which count back from the present, got {values.values.tolist()}"
        )
    return abs(values).drop_attrs().astype(float)


def _check(maps: xr.DataArray, dims: Sequence[Hashable], cells: xr.DataArray | None = None) -> None:
    """ValueError unless the maps have the dims, and the cells of another array."""
    if lost := [d for d in dims if d not in maps.dims]:
        raise ValueError(f"the importance has dims {list(maps.dims)}, not {lost}; name its own with lag= and space=")
    if cells is not None:
        xr.align(maps, cells, join="exact")  # else cells with different labels would be left out without a word


def _edges(distance: xr.DataArray, bins: float | Sequence[float]) -> NDArray[np.float64]:
    """Edges (bins + 1,) in km, from a width or as given."""
    if np.ndim(bins) == 0:
        if not float(np.asarray(bins)) > 0:
            raise ValueError(f"bins is a width in km above 0, or edges, got {bins}")
        width = float(np.asarray(bins))
        return np.arange(np.floor(float(distance.max()) / width) + 2) * width
    edges = np.asarray(bins, np.float64)
    if len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"the edges of bins increase, and there are at least two, got {edges.tolist()}")
    return edges


def _by_distance(
    maps: xr.DataArray, distance: xr.DataArray, edges: NDArray[np.float64], total: Sequence[Hashable] | None = None
) -> xr.DataArray:
    """Sums over the cells in each bin, as shares of the sum over `total`."""
    bin_of = xr.apply_ufunc(lambda d: np.searchsorted(edges, d, side="right") - 1, distance)
    middle = xr.DataArray((edges[1:] + edges[:-1]) / 2, dims="distance")
    member = (bin_of == xr.DataArray(np.arange(len(middle)), dims="distance")).astype(float)
    m = maps.fillna(0)
    found: xr.DataArray = xr.dot(m, member, dim=distance.dims) / m.sum(distance.dims if total is None else total)
    return found.assign_coords(distance=middle)


def _reach(
    mass: NDArray[np.float64], distance: NDArray[np.float64], shares: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The distance (..., shares) within which at least each share of the mass (..., cells) lies, and the distances sorted."""
    order = np.argsort(distance, kind="stable")
    cumulative = np.nan_to_num(mass[..., order]).cumsum(-1)
    targets = np.asarray(shares) * (1 - 1e-12)  # a share that is reached exactly stays reached after rounding
    first = np.stack([(cumulative >= q * cumulative[..., -1:]).argmax(-1) for q in targets], -1)
    return np.where(cumulative[..., -1:] > 0, distance[order][first], np.nan), distance[order]


def _radius(
    mass: NDArray[np.float64], area: NDArray[np.float64], distance: NDArray[np.float64], shares: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The radius (..., shares) that holds each share of the mass (..., *space), and the share of the area within it."""
    flat = distance.reshape(-1)
    radius, ordered = _reach(mass.reshape(*mass.shape[: mass.ndim - distance.ndim], -1), flat, shares)
    within = np.nan_to_num(area.reshape(-1)[np.argsort(flat, kind="stable")]).cumsum()
    area_within = within[np.searchsorted(ordered, radius, side="right").clip(max=len(flat)) - 1] / within[-1]
    return radius, np.where(np.isnan(radius), np.nan, area_within)


def _efolding(mass: NDArray[np.float64], back: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much further back than its peak (...) the mass (..., lags) first is at most 1/e of the peak."""
    order = np.argsort(back)
    back, mass = back[order], mass[..., order]
    peak = mass.argmax(-1)[..., None]
    end = np.take_along_axis(mass, peak, -1) * np.exp(-1)
    below = (mass <= end) & (np.arange(len(back)) > peak)
    after = below.argmax(-1)[..., None]
    before = np.maximum(after - 1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        high, low = (np.log(np.take_along_axis(mass, at, -1)) for at in (before, after))
        share = (high - np.log(end)) / (high - low)
        found = back[before] + share * (back[after] - back[before]) - back[peak]
    return np.where(below.any(-1), found[..., 0], np.nan)


def _with_units(ds: xr.Dataset, **units: str) -> xr.Dataset:
    """The Dataset with these units of variables and coordinates, 1 for all others, and no other attrs."""
    for name in (*ds.data_vars, *units):
        ds[name].attrs = {"units": units.get(str(name), "1")}
    return ds
