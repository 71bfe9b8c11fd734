"""Local, longer memory at longer leads, and the same everywhere? Three findings about a climate emulator, on 34 real years.

Xu et al. (2021) trained encoder-decoders on 36 months of sea-surface temperature, each to forecast the field at one lead,
and pooled the importance of every cell and month. Here this is done on the anomalies of the tropical Pacific, 1970 to 2003,
where 36 months before and 9 after leave 355 overlapping windows. Every forecast and every map is of a window that shares no
month with those its network was trained on. Persistence and a linear inverse model, fitted to the same months, stand beside
the networks; beside every finding stand its interval over blocks of months, and the same numbers of untrained networks.

What the full run says, of Nino 3.4 (its tables are in the README beside this file):

- Local? Not shown. Within 1000 km, .21 of the area, lie .93, .61 and .60 of the importance at 1, 6 and 9 months; in untrained
  networks .95: it is the architecture that is local. A network that sees the whole basin alike spreads it as the area lies
  (.23, .18, .20), and so, beyond one month, does the exact attribution of the inverse model (.53, .28, .26).
- Longer leads, longer memory? In importance: its centre lies 5.1 [4.6, 5.6] and 5.9 [5.1, 6.4] months further back at 6 and 9 months.
  Not in skill: trained anew without what is more than 12 months back, networks forecast as well or better.
- Lag and place apart? To leading order: rank-1 shares of .92 to .995 in all boxes, of untrained networks .77 to .84.
- The networks are as good as the inverse model and not detectably better, .60 and .58 at 6, .47 and .38 at 9 months. With
  some nine El Ninos, differences of .1 to .2 in a correlation cannot be told.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from common import arguments, begin, data_folder, parameters
from torch import Tensor, nn
from torch.nn import functional as F

import tsattr as ta
from tsattr.datasets.inverse_model import LinearInverseModel, linear_inverse_model
from tsattr.io import write_netcdf

LAGS, LEADS = 36, (1, 6, 9)
SPACE = ("lat", "lon")
BOXES = {
    "nino34": ta.climate.NINO_BOXES["nino34"],
    "warm pool": {"lat": (-10, 10), "lon": (130, 160)},
    "south-east": {"lat": (-26, -14), "lon": (250, 280)},
}
NETWORKS = {"convolutional": None, "bottleneck": 32}
MONTHS_IN_BLOCK = 24
NEAR_KM = 1000.0
MODES = 15
ZERO = ta.baselines.Constant(0.0)
WORDS = {
    "center": ("centre of the mass, months back", 1),
    "later": ("by how much it lies further back than at the first lead", 1),
    "efolding": ("e-folding, months", 1),
    "rank1": ("share of the first singular value: 1 where lag and place are apart", 3),
}
PATH = ta.IntegratedGradients(ZERO, steps=8)


@dataclass(frozen=True)
class Size:
    """How much is done."""

    folds: int = 5
    epochs: int = 20
    every: int = 2  # of so many held-out samples, which are nearly copies of each other, one is explained
    histories: tuple[int, ...] = (1, 6, 12)
    retrained: tuple[int, ...] = (1, 12)
    controls: int = 5
    untrained: int = 5
    resamples: int = 300


QUICK = Size(folds=2, epochs=3, every=12, histories=(1,), retrained=(1,), controls=1, untrained=2, resamples=50)


class Emulator(nn.Module):
    """Encoder and decoder: histories (rows, lag, lat, lon) to one map (rows, 1, lat, lon); land is 0.

    With a code everything passes through that many numbers, which see the whole basin alike. Without one the convolutions are
    densely connected, so that a place's own past has a short way to its forecast.
    """

    def __init__(self, code: int | None = None, width: int = 12, grid: tuple[int, int] = (30, 84)) -> None:
        super().__init__()

        def conv(i: int, o: int, stride: int = 1) -> nn.Module:
            return nn.Sequential(nn.Conv2d(i, o, 3, stride, 1), nn.GELU(), nn.Dropout2d(0.2))

        self.down = nn.ModuleList([conv(LAGS, width), conv(width, width, 2), conv(width, 2 * width, 2)])
        coarse = (2 * width, -(-grid[0] // 8), -(-grid[1] // 8))
        self.middle = conv(2 * width, 2 * width) if code is None else through(code, coarse)
        self.dense = code is None
        beside = width if self.dense else 0
        self.up = nn.ModuleList([conv(2 * width + beside, width), conv(width + beside, width)])
        self.out = nn.Conv2d(width, 1, 1)
        self.to(memory_format=torch.channels_last)  # five times as fast on a CPU

    def forward(self, x: Tensor) -> Tensor:
        h, seen = F.avg_pool2d(torch.nan_to_num(x), 2).to(memory_format=torch.channels_last), []
        for layer in self.down:
            h = layer(h)
            seen.append(h)
        h = self.middle(h)
        for layer, before in zip(self.up, seen[-2::-1]):
            h = resized(h, before)
            h = layer(torch.cat([h, before], 1) if self.dense else h)
        return resized(self.out(h), x)


def through(code: int, shape: tuple[int, int, int]) -> nn.Module:
    """Down to a few numbers, and up again."""
    size = math.prod(shape)
    ends = nn.Linear(size, code), nn.Linear(code, size)
    return nn.Sequential(nn.Flatten(), ends[0], nn.GELU(), ends[1], nn.Unflatten(1, shape))


def resized(x: Tensor, like: Tensor) -> Tensor:
    """A field on the grid of another."""
    return F.interpolate(x, like.shape[-2:], mode="bilinear")


class Persistence(nn.Module):
    """The last month again."""

    def forward(self, x: Tensor, fold: Tensor) -> Tensor:
        return x[:, -1:]


class CrossFitted(nn.Module):
    """For each sample the model of its own fold, which was fitted without any month of it."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, x: Tensor, fold: Tensor) -> Tensor:
        rows = [(fold == k).nonzero().flatten() for k in range(len(self.models))]
        y = torch.cat([model(x[at]) for model, at in zip(self.models, rows) if len(at)])
        return y[torch.cat(rows).argsort()]


@dataclass(frozen=True)
class Study:
    """The record cut into samples, and which fold each belongs to."""

    record: xr.DataArray
    x: xr.DataArray
    y: xr.DataArray
    size: Size
    seed: int

    @classmethod
    def of(cls, record: xr.DataArray, size: Size, seed: int) -> "Study":
        return cls(record, *ta.climate.histories(record, LAGS, LEADS), size, seed)

    @property
    def blocks(self) -> ta.climate.Blocks:
        """What is resampled for intervals."""
        return ta.climate.Blocks(MONTHS_IN_BLOCK, resamples=self.size.resamples)

    @cached_property
    def fold(self) -> np.ndarray:
        """Of each sample; a fold is a stretch of years."""
        n = self.x.sizes["sample"]
        return np.arange(n) * self.size.folds // n

    @cached_property
    def area(self) -> xr.DataArray:
        """Of each cell (lat, lon), 0 on land."""
        sea = self.record.notnull().all("time")
        return ta.climate.area_weights(self.record).broadcast_like(sea).transpose(*SPACE).where(sea, 0)

    @cached_property
    def boxes(self) -> dict[str, xr.DataArray]:
        """Weights of each box: the area of its sea."""
        return {name: self.area * ta.climate.box(self.record, **box) for name, box in BOXES.items()}

    @cached_property
    def distance(self) -> xr.DataArray:
        """(target, lat, lon): km from each box."""
        return self.by_box(lambda weights: ta.climate.distance(self.record, weights > 0))

    @cached_property
    def near(self) -> xr.DataArray:
        """(target, lat, lon): True in the neighbourhood of each box."""
        return self.distance <= NEAR_KM

    @cached_property
    def truth(self) -> xr.DataArray:
        """(sample, lead, target): the means of the boxes to forecast."""
        return self.means(self.y)

    def means(self, fields: xr.DataArray) -> xr.DataArray:
        """(..., target): the means of the boxes."""
        return self.by_box(lambda weights: ta.climate.area_mean(fields, weights)).transpose(..., "target")

    def by_box(self, f: Callable[[xr.DataArray], xr.DataArray]) -> xr.DataArray:
        """Something of each box's weights."""
        return xr.concat([f(weights) for weights in self.boxes.values()], "target").assign_coords(target=list(BOXES))

    def training(self, fold: int) -> np.ndarray:
        """Positions of the samples that share no month, of history or of truth at any lead, with a sample of the fold."""
        held, every = np.flatnonzero(self.fold == fold), np.arange(len(self.fold))
        return every[abs(every[:, None] - held).min(1) >= LAGS + max(LEADS)]

    def emulator(self, x: xr.DataArray, y: xr.DataArray, code: int | None = None) -> CrossFitted:
        """Networks trained on the histories and the fields of one lead, each without its fold."""
        fields, truth = (torch.as_tensor(np.nan_to_num(v.values)) for v in (x, y))
        weights = torch.as_tensor((self.area / self.area.sum()).values.astype(np.float32))
        nets = []
        for k in range(self.size.folds):
            at = self.training(k)
            torch.manual_seed(self.seed)
            nets.append(train(Emulator(code), fields[at], truth[at], weights, epochs=self.size.epochs))
        return CrossFitted(nets).eval()

    def inverse_models(self) -> list[LinearInverseModel]:
        """Of each fold, fitted to the months its networks were trained on, with a gap where its own are."""
        fitted = []
        for k in range(self.size.folds):
            known = np.isin(np.arange(len(self.record)), self.training(k)[:, None] + np.arange(LAGS + max(LEADS)))
            fitted.append(linear_inverse_model(self.record.where(xr.DataArray(known, dims="time")), modes=MODES))
        return fitted

    def settings(self, lead: int, at: Any = slice(None)) -> dict[str, Any]:
        """What `explain` needs besides model, input and method, to ask for the mean of each box."""
        return {
            "target": {name: ta.targets.Region(weights) for name, weights in self.boxes.items()},
            "outputs": {"lead": [lead], "lat": self.record.lat, "lon": self.record.lon},
            "context": {"fold": self.fold[at]},
        }


def train(net: Emulator, x: Tensor, y: Tensor, weights: Tensor, *, epochs: int, batch: int = 16) -> Emulator:
    """By the squared error over the sea's area."""
    optimiser = torch.optim.AdamW(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=epochs * -(-len(x) // batch))
    for _ in range(epochs):
        for at in torch.randperm(len(x)).split(batch):
            optimiser.zero_grad()
            ((net(x[at])[:, 0] - y[at]) ** 2 * weights).sum((1, 2)).mean().backward()
            optimiser.step()
            schedule.step()
    return net.eval()


def skill(study: Study, models: Mapping[int, Any], lags: Sequence[int]) -> xr.Dataset:
    """Skill of the boxes' means (case, target, lead), whole and with the history cut."""
    blocks = study.blocks
    parts = [
        ta.climate.ablation(
            model, study.x, study.truth.sel(lead=lead), fill=ZERO, lags=lags, blocks=blocks, **study.settings(lead)
        )
        for lead, model in models.items()
    ]
    return xr.concat(parts, "lead").assign_coords(lead=list(models))


def neighbourhoods(study: Study, models: Mapping[int, nn.Module]) -> xr.Dataset:
    """Skill (case, target, lead) with only what is near each box, without it, and with other regions in its place."""
    by_lead = []
    for lead, model in models.items():
        settings, parts = study.settings(lead), []
        for name, target in settings.pop("target").items():
            y, region = study.truth.sel(lead=lead, target=name), study.near.sel(target=name, drop=True)
            more = {"region": region, "controls": study.size.controls, "blocks": study.blocks}
            parts.append(ta.climate.ablation(model, study.x, y, fill=ZERO, target=target, **more, **settings))
        by_lead.append(xr.concat(parts, "target").assign_coords(target=list(BOXES)))
    return xr.concat(by_lead, "lead").assign_coords(lead=list(models))


def squares(study: Study, models: Mapping[int, nn.Module]) -> xr.DataArray:
    """Squared errors of the boxes' means (sample, lead, target)."""
    x, fold = torch.tensor(study.x.values), torch.as_tensor(study.fold)
    with torch.no_grad():
        fields = torch.cat([model(x, fold) for model in models.values()], 1)
    return (study.means(study.y.copy(data=fields.numpy())) - study.truth) ** 2


def importance(study: Study, models: Mapping[int, nn.Module], every: int = 1) -> tuple[ta.climate.Pool, np.ndarray]:
    """Mean abs(attribution) (lead, target, lag, lat, lon) over held-out samples, and every completeness error."""
    chosen = np.arange(0, study.x.sizes["sample"], every)
    blocks = replace(study.blocks, size=-(-study.blocks.size // every))
    pool, errors = ta.climate.Pool(blocks, statistics=("mean_absolute",)), []
    for at in np.array_split(chosen, -(-len(chosen) // 16)):
        found = [ta.explain(model, study.x[at], PATH, **study.settings(lead, at)) for lead, model in models.items()]
        errors += [ds.completeness_error.values.ravel() for ds in found]
        pool.update(xr.concat([ds.attribution for ds in found], "lead").assign_coords(lead=list(models)))
    return pool, np.concatenate(errors)


def untrained(study: Study, net: nn.Module) -> xr.DataArray:
    """Importance (member, target, lag, lat, lon) in networks that have learnt nothing; it knows no lead."""

    def maps(net: nn.Module) -> xr.DataArray:
        same = CrossFitted([net] * study.size.folds)
        return importance(study, {0: same}, every=12)[0].maps().isel(lead=0, drop=True)

    return ta.climate.null(net, maps, number=study.size.untrained, seed=study.seed)


def exact(study: Study, fitted: Sequence[LinearInverseModel]) -> xr.DataArray:
    """What each cell of the last month contributes to the forecasts of the linear inverse models (sample, ..., target)."""
    parts = []
    for k, model in enumerate(fitted):
        x = study.x.isel(sample=study.fold == k, lag=[-1]).drop_vars("time")
        parts.append(study.by_box(partial(model.truth, x, leads=LEADS)))
    return xr.concat(parts, "sample")


def findings(study: Study, maps: xr.DataArray) -> xr.Dataset:
    """The three findings as numbers, of maps of importance (target, lag, lat, lon, ...)."""
    along, mass = ta.climate.lag_profile(maps), maps.sum("lag", min_count=1)
    edges = np.arange(0, 12_001, 1000)
    pairs = zip(BOXES, study.distance.drop_vars("target"))
    around = [ta.climate.radial_profile(mass.sel(target=name), km, bins=edges) for name, km in pairs]
    out = along[["mass_share", "center", "efolding"]].assign(
        near=mass.where(study.near).sum(SPACE) / mass.sum(SPACE),
        rank1=ta.climate.separability(maps).rank1_share,
        density=xr.concat([part.density for part in around], maps.target),
    )
    if "lead" in maps.dims:
        out["later"] = out.center - out.center.isel(lead=0, drop=True)
    return out


def filters(study: Study, lead: int, period: float) -> xr.Dataset:
    """The lags that matter to networks whose input went through a two-sided or a causal filter."""

    def maps(record: xr.DataArray) -> ta.climate.Pool:
        part = replace(study, record=record, x=ta.climate.histories(record, LAGS, LEADS)[0])
        return importance(part, {lead: part.emulator(part.x, study.y.sel(lead=lead))}, every=4)[0]

    return ta.climate.leakage(study.record, maps, period)


def lost(study: Study, models: Mapping[int, nn.Module], others: Mapping[int, nn.Module]) -> xr.Dataset:
    """Mean squared error of models less that of others (lead, target), with its interval."""
    difference = squares(study, models) - squares(study, others)
    return ta.climate.Pool(study.blocks, statistics=("mean",)).update(difference).result()


def whole(study: Study, maps: xr.DataArray) -> xr.DataArray:
    """Maps of the last month with the months before, which count for nothing."""
    return maps.reindex(lag=study.x.lag, fill_value=0).where(study.area > 0)


def agreement(study: Study, models: Mapping[int, nn.Module], truth: xr.DataArray) -> float:
    """Largest difference between integrated gradients of the linear inverse models and what is exact, relative to its size."""
    at, worst = np.arange(0, len(study.fold), 60), 0.0
    for lead, model in models.items():
        found = ta.explain(model, study.x[at], PATH, **study.settings(lead, at)).attribution
        expected = whole(study, truth.sel(lead=lead).isel(sample=at))
        worst = max(worst, float(abs(found - expected).max() / abs(expected).max()))
    return worst


def range_of(ds: xr.Dataset, dim: str) -> xr.Dataset:
    """Mean over a dim, with the smallest and the largest value for ends."""
    ends = {"": ds.mean(dim), "_low": ds.min(dim), "_high": ds.max(dim)}
    return xr.merge([part.rename({v: f"{v}{end}" for v in part.data_vars}) for end, part in ends.items()])


def joined(parts: Mapping[str, xr.Dataset], dim: str) -> xr.Dataset:
    """Datasets by name."""
    return xr.concat(list(parts.values()), dim).assign_coords({dim: list(parts)})


def table(ds: xr.Dataset, name: str, digits: int = 2) -> str:
    """A variable of each (target, lead), in a column for each of the other dim, with its interval."""
    (across,) = set(ds[name].dims) - {"lead", "target"}
    ends = [ds[name + end].stack(at=("target", "lead")).transpose("at", across) for end in ("", "_low", "_high")]

    def cell(*values: float) -> str:
        return "" if np.isnan(values).any() else "{:.{d}f} [{:.{d}f}, {:.{d}f}]".format(*values, d=digits)

    rows = [f"{target}, {lead}" for target, lead in ends[0]["at"].values]
    return pd.DataFrame(np.vectorize(cell)(*ends), rows, ends[0][across].values).to_string()


def draw(study: Study, kind: str, maps: xr.DataArray, found: xr.Dataset, null: xr.DataArray, out: Path) -> None:
    """Maps of each box, and profiles by distance and lag."""
    plot, learnt_nothing = ta.plot, findings(study, null)[["density", "mass_share"]]
    for name, weights in study.boxes.items():
        here, untrained_here = (v.sel(target=name, drop=True) for v in (maps, null))
        shares = ta.climate.lag_distance(here, study.distance.sel(target=name, drop=True), null=untrained_here)
        profiles = found.merge(learnt_nothing.rename({v: f"{v}_null" for v in learnt_nothing})).sel(target=name)
        figures = {
            "map": plot.world(
                here.sum("lag", min_count=1).assign_attrs(units="degC"),
                region=weights > 0,
                columns=1,
                title=f"What matters to {name}, all lags",
            ),
            "lag_distance": plot.lag_distance(shares, title=f"What matters to {name}"),
            "radial": plot.profile(profiles, "density", title=f"Importance by area, {name}"),
            "lag": plot.profile(profiles, "mass_share", title=f"Importance by lag, {name}"),
        }
        for what, figure in figures.items():
            figure.savefig(out / f"{kind}_{what}_{name.replace(' ', '_')}.png", dpi=110)


def explain_networks(study: Study, kind: str, networks: Mapping[int, CrossFitted], out: Path) -> dict[str, xr.Dataset]:
    """The findings for one kind of network and for untrained copies of it; writes maps and figures."""
    null = untrained(study, networks[LEADS[0]].models[0])
    pool, errors = importance(study, networks, study.size.every)
    median, largest = np.median(errors), errors.max()
    print(f"{kind}: {pool.samples} held-out samples; completeness error {median:.1e}, at most {largest:.1e}")
    found = pool.interval(lambda maps: findings(study, maps))
    draw(study, kind, pool.maps(), found, null, out)
    write_netcdf(xr.Dataset({"importance": pool.maps(), "untrained": null}), out / f"{kind}_importance.nc")
    return {kind: found, f"{kind}, untrained": range_of(findings(study, null), "member").expand_dims(lead=list(LEADS))}


def main(args: argparse.Namespace) -> None:
    file = data_folder("climate") / "tropical_pacific_ssta_1970_2003.nc"
    say = begin(args)
    with xr.open_dataset(file) as ds:
        study = Study.of(ds["ssta"].load(), QUICK if args.quick else Size(), args.seed)
    size, counts = study.size, [len(study.training(k)) for k in range(study.size.folds)]
    say(f"{len(study.fold)} windows; {counts} of them share no month with those of their fold")

    fitted = study.inverse_models()
    models: dict[str, dict[int, Any]] = {
        "persistence": dict.fromkeys(LEADS, Persistence()),
        "inverse model": {lead: CrossFitted([m.model([lead]) for m in fitted]) for lead in LEADS},
    }
    for kind, code in NETWORKS.items():
        models[kind] = {lead: study.emulator(study.x, study.y.sel(lead=lead), code) for lead in LEADS}
        one = models[kind][LEADS[0]].models[0]
        say(f"{kind}: {len(LEADS) * size.folds} networks of {parameters(one)} parameters trained")
    scores = joined({name: skill(study, by_lead, size.histories) for name, by_lead in models.items()}, "model")
    write_netcdf(scores, args.out / "skill.nc")
    say("skill of the boxes' means, by lead in months")
    for score in ("acc", "rmse"):
        print(f"\n{score}\n{table(scores.sel(case='intact'), score)}")
    gain = {name: lost(study, models[name], models["inverse model"]) for name in models if name != "inverse model"}
    print(f"\nmean squared error less that of the inverse model\n{table(joined(gain, 'model'), 'mean', 3)}")
    for kind in NETWORKS:
        print(f"\n{kind}: change of acc without the earlier history\n{table(scores.sel(model=kind), 'acc_change')}")

    found: dict[str, xr.Dataset] = {}
    for kind in NETWORKS:
        found |= explain_networks(study, kind, models[kind], args.out)
        say(f"{kind} networks explained")
    truth = exact(study, fitted)
    pool = ta.climate.Pool(study.blocks, statistics=("mean_absolute",)).update(truth)
    found["inverse model"] = pool.interval(lambda maps: findings(study, whole(study, maps)))
    rows = joined(found, "model")
    write_netcdf(rows, args.out / "findings.nc")
    gap = agreement(study, models["inverse model"], truth)
    say(f"integrated gradients of the inverse model differ from what is exact by {gap:.1e} of its largest value")
    share = (study.area.where(study.near).sum(SPACE) / study.area.sum()).to_series().round(2).to_dict()
    print(f"\nshare of the mass within {NEAR_KM:g} km of the box; of the area: {share}\n{table(rows, 'near')}")
    for name, (text, digits) in WORDS.items():
        shown = rows.sel(model=list(NETWORKS)) if name == "later" else rows
        print(f"\n{text}\n{table(shown, name, digits)}")

    for kind in NETWORKS:
        regions = neighbourhoods(study, models[kind])
        write_netcdf(regions, args.out / f"{kind}_regions.nc")
        print(f"\n{kind}: change of acc with and without the neighbourhood\n{table(regions, 'acc_change')}")
        random = range_of(regions[["acc_random"]].dropna("case"), "control").rename(
            {f"acc_random{end}": f"acc{end}" for end in ("", "_low", "_high")}
        )
        both = joined({"own": regions.sel(case=random.case)[list(random)], "random": random}, "region")
        print(f"acc, beside random regions of the same area\n{table(both.stack(cases=('region', 'case')), 'acc')}")
    say("neighbourhoods removed")

    retrain = {lead: ta.climate.Retrain(study.emulator, study.x, study.y.sel(lead=lead)) for lead in LEADS}
    retrained = skill(study, retrain, size.retrained)
    write_netcdf(retrained, args.out / "retrained.nc")
    say("convolutional networks trained anew without the earlier history")
    print(f"acc\n{table(retrained, 'acc')}\nits change\n{table(retrained, 'acc_change')}")

    lead, period = LEADS[1], 12.0
    leak = filters(study, lead, period)
    write_netcdf(leak, args.out / "leakage.nc")
    say(f"the record is not filtered; low-passed at {period:g} months, the share of the last three months would be")
    print(table(leak, "recent_share"))
    say(f"wrote tables and figures to {args.out}")


if __name__ == "__main__":
    main(arguments(__doc__, study="tropical_pacific").parse_args())
