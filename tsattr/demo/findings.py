"""Three findings about a climate emulator as statements that hold or not, with numbers and intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr

from ..climate import Pool, lag_distance, lag_profile, radial_profile, separability
from .ocean import EFOLDING, TARGETS

RECOVERED = 0.15  # the largest relative error at which a planted length counts as recovered


def falloff(maps: xr.DataArray, km: xr.DataArray, within: float = 3000.0) -> xr.DataArray:
    """The distance over which importance falls to 1/e: the slope of its logarithm against distance, nearby."""
    mass = maps.sum("lag")
    log = xr.apply_ufunc(np.log, mass.where((mass > 0) & (km <= within)))
    away = km.where(log.notnull())
    length: xr.DataArray = -away.var(["lat", "lon"]) / xr.cov(log, away, ["lat", "lon"], ddof=0)
    return length.rename("falloff")


def profiles(importance: Pool | xr.DataArray, km: xr.DataArray, untrained: xr.DataArray | None = None) -> xr.Dataset:
    """Return the measures that the findings rest on: importance by distance, by lag and by both, and its rank-1 share."""

    def spans(maps: xr.DataArray) -> xr.Dataset:
        further = lag_profile(maps).center.diff("target").rename(target="step")
        return xr.Dataset({"falloff": falloff(maps, km), "further": further})

    parts = {
        "radial": radial_profile(importance, km, null=untrained),
        "lag": lag_profile(importance, null=untrained),
        "panel": lag_distance(importance, km, null=untrained),
        "apart": separability(importance, null=untrained),
        "spans": importance.interval(spans) if isinstance(importance, Pool) else spans(importance),
    }
    return xr.merge(prefixed(name, part) for name, part in parts.items())


class Finding(NamedTuple):
    """A statement, whether it holds here, and the numbers."""

    name: str
    holds: bool
    numbers: str

    def __str__(self) -> str:
        return f"{self.name}: {'holds' if self.holds else 'does NOT hold'} here. {self.numbers}"


def findings(found: xr.Dataset, truth: xr.Dataset) -> list[Finding]:
    """Return whether the findings of Xu et al. 2021 hold and the planted lengths are recovered; intervals over blocks of samples."""
    leads = f"At leads {', '.join(map(str, EFOLDING))}: "
    wide = found.sel(share=0.8)
    dense = (0.8 / wide["radial_area_within_high"]).values
    radii = wide["radial_radius_null"]
    local = (
        f"{leads}80 % of the importance lies within {_with_intervals(wide, 'radial_radius', 'km')} of the box, where "
        f"{', '.join(f'{v:.0%}' for v in wide['radial_area_within'].values)} of the ocean lie (planted: "
        f"{_listed(truth.sel(share=0.8)['radial_radius'])} km). Untrained networks of this architecture: "
        f"{float(radii.min()):.0f} to {float(radii.max()):.0f} km, {_beside_untrained(wide['radial_radius'], radii)}"
    )
    back = (
        f"The centre of lag mass is {_with_intervals(found, 'lag_center', 'months')} back (planted: "
        f"{_listed(truth['lag_center'])}; untrained: {float(found['lag_center_null'].mean()):.1f}); each lead further than the "
        f"one before by {_with_intervals(found, 'spans_further', 'months')}."
    )
    apart = (
        f"{leads}the rank-1 share of importance by lag and place is {_with_intervals(found, 'apart_rank1_share')} (planted: 1; "
        f"untrained: at most {float(found['apart_rank1_share_null'].max()):.3g})."
    )
    above = found["apart_rank1_share_low"] > found["apart_rank1_share_null"].max("member")
    return [
        Finding("Finding 1, importance is local", bool((dense > 1).all()), local),
        Finding("Finding 2, longer leads reach further back", bool((found["spans_further_low"] > 0).all()), back),
        Finding("Finding 3, decay with lag is the same everywhere", bool(above.all()), apart),
        _recovery("The radius", "spans_falloff", "km", found, truth),
        _recovery("The memory", "lag_efolding", "months", found, truth),
    ]


def _recovery(what: str, name: str, unit: str, found: xr.Dataset, truth: xr.Dataset) -> Finding:
    """Return whether a planted e-folding length is found within `RECOVERED` at every lead."""
    off = found[name] / truth[name] - 1
    numbers = (
        f"Importance falls to 1/e over {_with_intervals(found, name, unit)}; planted: {_listed(truth[name])}; off by "
        f"{', '.join(f'{v:+.0%}' for v in off.values)}."
    )
    return Finding(f"{what} is recovered within {RECOVERED:.0%}", bool((abs(off) <= RECOVERED).all()), numbers)


def _beside_untrained(value: xr.DataArray, untrained: xr.DataArray) -> str:
    if bool((value > untrained.max()).all()):
        return "less than that: how far this network looks was learnt, its nearness alone proves nothing."
    if bool((value < untrained.min()).all()):
        return "more than that: the architecture would let it look further."
    return "as far as that: the architecture alone may look so."


def _listed(values: xr.DataArray) -> str:
    """Return the values of each lead as text; one where all are equal."""
    texts = [f"{v:.3g}" if v < 100 else f"{v:.0f}" for v in values.values.tolist()]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def _with_intervals(ds: xr.Dataset, name: str, unit: str = "") -> str:
    """Return the values of each lead with their intervals as text."""
    columns = (ds[name + end].values.tolist() for end in ("", "_low", "_high"))
    form = "{0:.0f} [{1:.0f}, {2:.0f}]" if float(ds[name].max()) > 100 else "{0:.3g} [{1:.3g}, {2:.3g}]"
    return f"{', '.join(form.format(*row) for row in zip(*columns))} {unit}".rstrip()


def ablation_lines(lost: xr.Dataset) -> Iterator[str]:
    """Yield for each lead a line on the RMSE of the box's forecast without parts of the input."""
    for name in TARGETS:
        of = lost.sel(target=name)
        rmse = {str(k): f"{v:.3f}" for k, v in zip(of["case"].values, of["rmse"].values.tolist())}
        dropped, kept = (of["rmse_random"].sel(case=f"{case} region").values for case in ("drop", "keep"))
        lags = ", ".join(f"{v} from the {k} months" for k, v in rmse.items() if k.startswith("last"))
        change = "[{:.3f}, {:.3f}]".format(
            *(float(of[f"rmse_change_{e}"].sel(case="drop region")) for e in ("low", "high"))
        )
        yield (
            f"{name}: RMSE of the box {rmse['intact']} degC; without the neighbourhood {rmse['drop region']} (change {change}), "
            f"without a random region of its area {dropped.min():.3f} to {dropped.max():.3f}; from the neighbourhood alone "
            f"{rmse['keep region']}, from a random region alone {kept.min():.3f} to {kept.max():.3f}; {lags}"
        )


def prefixed(name: str, ds: xr.Dataset) -> xr.Dataset:
    """Return `ds` with `name` and an underscore before the name of each variable."""
    return ds.rename({k: f"{name}_{k}" for k in ds.data_vars})
