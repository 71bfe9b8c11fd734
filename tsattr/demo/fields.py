"""The demo of fields: an emulator of a simulated ocean is trained, explained, and asked whether three findings hold."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from .. import baselines, groups, targets
from ..climate import (
    NINO_BOXES,
    Pool,
    ablation,
    area_mean,
    area_weights,
    box,
    distance,
    lag_distance,
    lag_profile,
    null,
    pooled,
    radial_profile,
    separability,
)
from ..explain import explain
from ..io import write_netcdf
from ..methods.gradient import InputXGradient, Saliency
from ..methods.integrated_gradients import IntegratedGradients
from ..methods.occlusion import Occlusion
from .ocean import EFOLDING, LAGS, TARGETS, ocean, planted, response, simulate
from .scores import Say, along_method, ranking
from .training import fit

NEAR_KM, RECOVERED = 1500.0, 0.15
EVENT = ("lag", "lat", "lon")


class DenseBlock(nn.Module):
    """Convolutions that each see all that came before, joined along the channels. Huang et al., CVPR 2017."""

    def __init__(self, channels: int, layers: int, growth: int = 12) -> None:
        super().__init__()
        widths = [channels + k * growth for k in range(layers)]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(w), nn.ReLU(), nn.Conv2d(w, growth, 3, padding=1)) for w in widths
        )
        self.channels = channels + layers * growth

    def forward(self, x: Tensor) -> Tensor:
        """(rows, channels, lat, lon), `x` first among the channels."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


class SmallEmulator(nn.Module):
    """A dense encoder-decoder: (rows, lag, lat, lon) to (rows, lead, lat, lon). Missing cells (land) are read as 0."""

    def __init__(self, lags: int = LAGS, leads: int = len(EFOLDING), width: int = 24) -> None:
        super().__init__()
        self.stem = nn.Conv2d(lags, width, 3, padding=1)
        self.encoder = DenseBlock(width, 2)
        inner = self.encoder.channels
        self.down = nn.Sequential(nn.BatchNorm2d(inner), nn.ReLU(), nn.Conv2d(inner, width, 1), nn.AvgPool2d(2))
        self.middle = DenseBlock(width, 3)
        self.up = nn.ConvTranspose2d(self.middle.channels, width, 2, 2)
        self.decoder = DenseBlock(width + inner, 2)
        self.head = nn.Conv2d(self.decoder.channels, leads, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, lead, lat, lon)."""
        fine = self.encoder(self.stem(torch.nan_to_num(x)))
        coarse = self.middle(self.down(fine))
        return self.head(self.decoder(torch.cat([self.up(coarse), fine], 1)))


def train(model: nn.Module, x: xr.DataArray, y: xr.DataArray, *, epochs: int, seed: int = 0, batch: int = 16) -> None:
    """Fit to the cells of the ocean, each lead in units of its own variance; see `training.fit`."""
    sea = torch.as_tensor(y[0].notnull().all("lead").values)
    rows, later = torch.tensor(x.values), torch.tensor(y.values)[..., sea]
    later_sd = later.std((0, 2), keepdim=True)

    def loss(part: Any) -> Tensor:
        return (((model(rows[part])[..., sea] - later[part]) / later_sd) ** 2).mean()

    # The decay is so strong as months of no use otherwise keep their first weights, whose faint importance adds up.
    fit(model, loss, len(rows), epochs=epochs, batch=batch, decay=0.5, seed=seed)


def forecast(model: nn.Module, x: xr.DataArray, like: xr.DataArray, batch: int = 64) -> xr.DataArray:
    """The model's fields, labelled as the truth is."""
    with torch.no_grad():
        parts = [model(torch.tensor(x[i : i + batch].values)) for i in range(0, len(x), batch)]
    return like.copy(data=torch.cat(parts).numpy()).where(like.notnull())


def persistence(x: xr.DataArray, y: xr.DataArray, later: xr.DataArray) -> xr.DataArray:
    """The last month of `later` times the regression of y on the last month of x, one number for each lead."""
    last = x.isel(lag=-1, drop=True)
    slope = (last * y).mean(["sample", "lat", "lon"]) / (last**2).mean()
    return (later.isel(lag=-1, drop=True) * slope).transpose(*y.dims)


def skill(found: xr.DataArray, y: xr.DataArray) -> xr.Dataset:
    """Anomaly correlation and root mean square error of the fields of each lead, cells weighted by their area."""
    weights = area_weights(y)
    error = ((found - y) ** 2).weighted(weights).mean(["sample", "lat", "lon"])
    acc = xr.corr(found, y, ["sample", "lat", "lon"], weights=weights)
    return xr.Dataset({"acc": acc, "rmse": np.sqrt(error)})


def falloff(maps: xr.DataArray, km: xr.DataArray, within: float = 3000.0) -> xr.DataArray:
    """The distance over which importance falls to 1/e: the slope of its logarithm against distance, nearby."""
    mass = maps.sum("lag")
    log = xr.apply_ufunc(np.log, mass.where((mass > 0) & (km <= within)))
    away = km.where(log.notnull())
    return (-away.var(["lat", "lon"]) / xr.cov(log, away, ["lat", "lon"], ddof=0)).rename("falloff")


def profiles(importance: Pool | xr.DataArray, km: xr.DataArray, untrained: xr.DataArray | None = None) -> xr.Dataset:
    """What the findings speak of: how importance falls off in space and in time, and whether the two are apart."""

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
    return xr.merge(_prefixed(name, part) for name, part in parts.items())


class Finding(NamedTuple):
    """A statement, whether it holds here, and the numbers."""

    name: str
    holds: bool
    numbers: str

    def __str__(self) -> str:
        return f"{self.name}: {'holds' if self.holds else 'does NOT hold'} here. {self.numbers}"


def findings(found: xr.Dataset, truth: xr.Dataset) -> list[Finding]:
    """The findings of Xu et al. 2021, and whether the planted reach is recovered; intervals over blocks of samples."""
    leads = f"At leads {', '.join(map(str, EFOLDING))}: "
    wide = found.sel(share=0.8)
    dense = (0.8 / wide["radial_area_within_high"]).values
    radii = wide["radial_radius_null"]
    local = (
        f"{leads}80 % of the importance lies within {_with_ends(wide, 'radial_radius', 'km')} of the box, where "
        f"{', '.join(f'{v:.0%}' for v in wide['radial_area_within'].values)} of the ocean lie (planted: "
        f"{_listed(truth.sel(share=0.8)['radial_radius'])} km). Untrained networks of this architecture: "
        f"{float(radii.min()):.0f} to {float(radii.max()):.0f} km, {_against(wide['radial_radius'], radii)}"
    )
    back = (
        f"The centre of lag mass is {_with_ends(found, 'lag_center', 'months')} back (planted: "
        f"{_listed(truth['lag_center'])}; untrained: {float(found['lag_center_null'].mean()):.1f}); each lead further than the "
        f"one before by {_with_ends(found, 'spans_further', 'months')}."
    )
    apart = (
        f"{leads}the rank-1 share of importance by lag and place is {_with_ends(found, 'apart_rank1_share')} (planted: 1; "
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
    """Whether a planted 1/e is found within 15 % at every lead."""
    off = found[name] / truth[name] - 1
    numbers = (
        f"Importance falls to 1/e over {_with_ends(found, name, unit)}; planted: {_listed(truth[name])}; off by "
        f"{', '.join(f'{v:+.0%}' for v in off.values)}."
    )
    return Finding(f"{what} is recovered within {RECOVERED:.0%}", bool((abs(off) <= RECOVERED).all()), numbers)


def _against(value: xr.DataArray, untrained: xr.DataArray) -> str:
    if bool((value > untrained.max()).all()):
        return "less than that: how far this network looks was learnt, its nearness alone proves nothing."
    if bool((value < untrained.min()).all()):
        return "more than that: the architecture would let it look further."
    return "as far as that: the architecture alone may look so."


def _listed(values: xr.DataArray) -> str:
    """The values of each lead; one where all are alike."""
    texts = [f"{v:.3g}" if v < 100 else f"{v:.0f}" for v in values.values.tolist()]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def _with_ends(ds: xr.Dataset, name: str, unit: str = "") -> str:
    """The values of each lead with their intervals."""
    columns = (ds[name + end].values.tolist() for end in ("", "_low", "_high"))
    form = "{0:.0f} [{1:.0f}, {2:.0f}]" if float(ds[name].max()) > 100 else "{0:.3g} [{1:.3g}, {2:.3g}]"
    return f"{', '.join(form.format(*row) for row in zip(*columns))} {unit}".rstrip()


def without(found: xr.Dataset) -> Iterator[str]:
    """What the forecast of the box loses, one line for each lead."""
    for name in TARGETS:
        of = found.sel(target=name)
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


def methods(x: xr.DataArray) -> dict[str, Any]:
    """The explanations that the demo of fields compares, given states to draw absent values from."""
    climatology = baselines.Constant(0.0)
    return {
        "IG, climatology": IntegratedGradients(climatology),
        "IG, training states (expected gradients)": IntegratedGradients(baselines.Samples.fit(x), steps=1, draws=48),
        "Input x gradient": InputXGradient(),
        "Occlusion, 3 months x 10 degrees, climatology": Occlusion(
            groups.Windows(lag=3, lat="10deg", lon="10deg"), climatology
        ),
        "Saliency": Saliency(),
    }


def score(attribution: xr.DataArray, truth: xr.DataArray) -> xr.Dataset:
    """Correlation over cells of each sample's map with what each cell contributes, mean over leads; chance is 0."""
    found = xr.corr(attribution, truth, dim=list(EVENT)).mean("target")
    return xr.Dataset({"correlation": found, "correlation_chance": 0.0})


def question(y: xr.DataArray, region: xr.DataArray) -> dict[str, Any]:
    """The area mean of a region at every lead, as arguments of `explain`: one forward pass serves all leads."""
    weights = area_weights(y) * region
    aims = {name: targets.Region(weights, lead=float(lead)) for name, lead in zip(TARGETS, EFOLDING)}
    return {"target": aims, "outputs": y}


def study(
    net: nn.Module, x: xr.DataArray, km: xr.DataArray, asked: dict[str, Any], members: int, seed: int
) -> xr.Dataset:
    """Pooled importance with its profiles, untrained networks beside."""

    def importance(module: nn.Module, x: xr.DataArray, steps: int) -> Pool:
        pool = Pool(statistics=("mean_absolute",))
        return pooled(module, x, IntegratedGradients(steps=steps), pool=pool, chunk=32, **asked)

    pool = importance(net, x, 16)
    found = profiles(pool, km, null(net, lambda module: importance(module, x[:16], 4), number=members, seed=seed))
    names = {f"mean_absolute{end}": f"importance{end}" for end in ("", "_low", "_high")}
    return found.assign(pool.result()[list(names)].rename(names))


def comparison(
    net: nn.Module,
    x: xr.DataArray,
    truth: xr.DataArray,
    states: xr.DataArray,
    asked: dict[str, Any],
    say: Say,
    seed: int,
) -> tuple[xr.Dataset, xr.Dataset]:
    """The first method's result with the maps of all along `method`, and their scores, those of white noise last."""
    results = {}
    for name, method in methods(states).items():
        began = time.perf_counter()
        results[name] = explain(net, x, method, seed=seed, **asked)
        say(f"  {name}: {int(results[name].model_evaluations.sum())} model rows in {time.perf_counter() - began:.1f} s")
    noise = truth.copy(data=np.random.default_rng(seed).normal(size=truth.shape))
    tables = {name: score(ds.attribution, truth) for name, ds in results.items()}
    first = next(iter(results.values()))
    maps = along_method({name: ds[["attribution"]] for name, ds in results.items()})["attribution"]
    return first.drop_vars("attribution").assign(attribution=maps), along_method(
        tables | {"random": score(noise, truth)}
    )


def climate(out: Path, say: Say = print, *, quick: bool = False, seed: int = 0) -> xr.Dataset:
    """Simulate, train an emulator, explain it, test three findings, and write ``attribution.nc`` and ``report.html``.

    Parameters
    ----------
    out
        A folder; made if its parent exists.
    say
        Takes a line of text for each step.
    quick
        A shorter record and fewer samples, for a look within a minute.
    seed
        Of the simulator, the training and the draws.

    References
    ----------
    W. Xu, X. Luo, Y. Ren, J. H. Park, S. Yoo, B. T. Nadiga: Feature importance in a deep learning climate emulator. arXiv
    2108.13203, 2021: the findings.
    """
    out.mkdir(exist_ok=True)
    start = time.perf_counter()
    months, tested, members = (1500, 240, 2) if quick else (4000, 480, 5)
    cells = ocean()
    x, y = simulate(months, seed)
    cut = len(x) - tested - LAGS
    train_x, train_y, x, y = x[:cut], y[:cut], x[-tested:], y[-tested:]
    say(
        f"simulated {months} months of an ocean of {int(cells.sum())} cells; given are {LAGS} months, wanted is the field 1, 6 "
        "and 9 months later"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = SmallEmulator()
        train(net, train_x, train_y, epochs=4 if quick else 6, seed=seed)
    say(
        f"trained a dense encoder-decoder in {time.perf_counter() - start:.0f} s{' (quick: on too few months to recover all)' * quick}; "
        f"its skill on {tested} held-out months:"
    )
    made = {"network": forecast(net, x, y), "persistence": persistence(train_x, train_y, x)}
    quality = along_method({name: skill(field, y) for name, field in made.items()}).rename(method="forecast")
    quality["rmse"].attrs["units"] = y.attrs["units"]
    say(str(quality.to_dataframe().unstack("lead").round(3).to_string()))

    region = box(cells, **NINO_BOXES["nino34"]) & cells
    km, asked, weight = distance(cells, region).where(cells), question(y, region), planted(cells, region)
    x, y = x[::3], y[::3]
    say(f"explaining the mean of the Nino 3.4 box at leads 1, 6 and 9, {len(x)} forecasts, all leads at once")
    found = study(net, x, km, asked, members, seed)
    said = findings(found, profiles(weight, km))
    for finding in said:
        say(str(finding))

    lost = ablation(
        net,
        x,
        area_mean(y, region).rename(lead="target").assign_coords(target=list(TARGETS)),
        fill=baselines.Constant(0.0),
        region=km <= NEAR_KM,
        lags=(3, 6, 12),
        controls=8 if quick else 20,
        seed=seed,
        **asked,
    )
    say(f"taking away the neighbourhood (within {NEAR_KM:.0f} km of the box) or the past:")
    for line in without(lost):
        say(f"  {line}")

    x = x[:: len(x) // 3][: 2 if quick else 3]
    truth = (weight * response(x)).transpose(*x.dims, "target").rename("truth")
    say(f"explaining {len(x)} forecasts by several methods, beside what each cell contributes:")
    ds, scores = comparison(net, x, truth, train_x[::20], asked, say, seed)
    say(ranking(scores))
    ds = ds.assign(truth=truth, input=x, planted=weight, box=region).assign(found).assign(_prefixed("ablation", lost))
    ds = ds.assign(_prefixed("skill", quality)).assign(_prefixed("score", scores.drop_sel(method="random")))
    ds.attrs["findings"] = "\n".join(map(str, said))
    write_netcdf(ds, out / "attribution.nc")
    from .page import page

    page(ds, said, list(without(lost)), scores, out / "report.html")
    say(f"wrote {out / 'attribution.nc'} and {out / 'report.html'} after {time.perf_counter() - start:.0f} s")
    return ds


def _prefixed(name: str, ds: xr.Dataset) -> xr.Dataset:
    return ds.rename({k: f"{name}_{k}" for k in ds.data_vars})
