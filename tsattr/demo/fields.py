"""The demo of fields: an emulator of a simulated ocean is trained, explained, and asked whether three findings hold."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from .. import baselines, groups, targets
from ..climate import NINO_BOXES, Pool, ablation, area_mean, area_weights, box, distance, null, pooled
from ..explain import explain
from ..io import write_netcdf
from ..methods.gradient import InputXGradient, Saliency
from ..methods.integrated_gradients import IntegratedGradients
from ..methods.occlusion import Occlusion
from ..models import dropout
from .emulator import SmallEmulator, forecast, persistence, skill, train
from .findings import ablation_lines, findings, prefixed, profiles
from .ocean import EFOLDING, LAGS, TARGETS, ocean, planted, response, simulate
from .scores import Say, along_method, ranking

NEAR_KM = 1500.0  # the radius of what counts as the neighbourhood of the box
EVENT = ("lag", "lat", "lon")


def methods(x: xr.DataArray) -> dict[str, Any]:
    """Return the methods that the demo compares, by name; `x` has the states that expected gradients draw from."""
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
    """Return the correlation over cells of each sample's map with the true contributions, mean over leads; chance is 0."""
    found = xr.corr(attribution, truth, dim=list(EVENT)).mean("target")
    return xr.Dataset({"correlation": found, "correlation_chance": 0.0})


def target_arguments(y: xr.DataArray, region: xr.DataArray) -> dict[str, Any]:
    """Return target and outputs for `explain`: the area mean of a region at every lead, from one forward pass."""
    weights = area_weights(y) * region
    leads = {name: targets.Region(weights, lead=float(lead)) for name, lead in zip(TARGETS, EFOLDING)}
    return {"target": leads, "outputs": y}


def study(
    net: nn.Module, x: xr.DataArray, km: xr.DataArray, arguments: dict[str, Any], members: int, seed: int
) -> xr.Dataset:
    """Return pooled importance and its profiles, with those of untrained networks."""

    def importance(module: nn.Module, x: xr.DataArray, steps: int) -> Pool:
        pool = Pool(statistics=("mean_absolute",))
        return pooled(module, x, IntegratedGradients(steps=steps), pool=pool, chunk=32, **arguments)

    pool = importance(net, x, 32)
    found = profiles(pool, km, null(net, lambda module: importance(module, x[:16], 4), number=members, seed=seed))
    names = {f"mean_absolute{end}": f"importance{end}" for end in ("", "_low", "_high")}
    return found.assign(pool.result()[list(names)].rename(names))


def comparison(
    net: nn.Module,
    x: xr.DataArray,
    truth: xr.DataArray,
    states: xr.DataArray,
    arguments: dict[str, Any],
    say: Say,
    seed: int,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the first method's result with all maps along `method`, and the scores, those of white noise last."""
    results = {}
    for name, method in methods(states).items():
        began = time.perf_counter()
        results[name] = explain(net, x, method, seed=seed, **arguments)
        say(f"  {name}: {int(results[name].model_evaluations.sum())} model rows in {time.perf_counter() - began:.1f} s")
    noise = truth.copy(data=np.random.default_rng(seed).normal(size=truth.shape))
    tables = {name: score(ds.attribution, truth) for name, ds in results.items()}
    first = next(iter(results.values()))
    maps = along_method({name: ds[["attribution"]] for name, ds in results.items()})["attribution"]
    return first.drop_vars("attribution").assign(attribution=maps), along_method(
        tables | {"random": score(noise, truth)}
    )


def doubts(net: SmallEmulator, x: xr.DataArray, arguments: dict[str, Any], seed: int) -> xr.Dataset:
    """What makes the emulator unsure of the box at the first and the last lead, thinned by a dropout that it was not trained with."""
    thinned: Any = copy.deepcopy(net)
    thinned.down.append(nn.Dropout2d(0.1))
    thinned.head = nn.Sequential(nn.Dropout2d(0.1), thinned.head)
    kinds = {name: targets.Uncertainty("variance", arguments["target"][name]) for name in (TARGETS[0], TARGETS[-1])}
    ds = explain(
        dropout(thinned, 5),
        x,
        IntegratedGradients(tolerance=0.03),
        target=kinds,
        outputs=arguments["outputs"],
        seed=seed,
    )
    return ds.assign(input=x)


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
    km, arguments, weight = distance(cells, region).where(cells), target_arguments(y, region), planted(cells, region)
    x, y = x[::3], y[::3]
    say(f"explaining the mean of the Nino 3.4 box at leads 1, 6 and 9, {len(x)} forecasts, all leads at once")
    found = study(net, x, km, arguments, members, seed)
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
        **arguments,
    )
    say(f"taking away the neighbourhood (within {NEAR_KM:.0f} km of the box) or the past:")
    for line in ablation_lines(lost):
        say(f"  {line}")

    x = x[:: len(x) // 3][: 2 if quick else 3]
    truth = (weight * response(x)).transpose(*x.dims, "target").rename("truth")
    say(f"explaining {len(x)} forecasts by several methods, beside what each cell contributes:")
    ds, scores = comparison(net, x, truth, train_x[::20], arguments, say, seed)
    say(ranking(scores))
    ds = ds.assign(truth=truth, input=x, planted=weight, box=region).assign(found).assign(prefixed("ablation", lost))
    ds = ds.assign(prefixed("skill", quality)).assign(prefixed("score", scores.drop_sel(method="random")))
    ds.attrs["findings"] = "\n".join(map(str, said))
    write_netcdf(ds, out / "attribution.nc")
    from .page import page

    began = time.perf_counter()
    unsure = doubts(net, x[:2], arguments, seed)
    say(f"what makes it unsure of the box, in two months: {time.perf_counter() - began:.1f} s")
    page(ds, said, list(ablation_lines(lost)), scores, out / "report.html", unsure=unsure)
    say(f"wrote {out / 'attribution.nc'} and {out / 'report.html'} after {time.perf_counter() - start:.0f} s")
    return ds
