"""The page of a study of fields: what was found, what was planted, and the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from .. import plot
from ..io import write_text
from ..plot import shade
from ..report import markup
from ..report.markup import number
from ..report.unsure import unsure as what_makes_unsure
from ..report.words import completeness_verdict

_ASKED = [
    (
        "Data",
        "A simulated tropical ocean on a grid of 5 degrees. Each later field is a sum over the months and places before it, "
        "whose weights fall off by planted lengths with distance and with lag, and noise: the truth is known.",
        "",
    ),
    ("Model", "A dense encoder-decoder: 24 months of anomalies in, the fields 1, 6 and 9 months later out.", ""),
    ("Target", "The area mean of the Nino 3.4 box at each lead, all in one forward pass.", ""),
    (
        "Importance",
        "The mean size of integrated gradients from climatology (anomaly 0), pooled over held-out months.",
        "",
    ),
]
_NOTES = [
    "Intervals are of 95 %, by Student's t over blocks of forecasts. They say how firmly this network's importance is known, not how "
    "another training would come out.",
    "The centre of lag mass counts the many faint weights that training leaves on months of no use: each is small, together "
    "they draw the centre back, most so where the planted memory is short.",
    "Importance of at least 0 has a large rank-1 share whatever its pattern: read it beside that of untrained networks.",
    "Ablation asks the frozen network about input with parts missing, which it has not met; what it loses may be due to that. "
    "tsattr.climate.Retrain asks a network that is trained without them.",
    "Expected gradients and saliency answer other questions than what each cell contributes from climatology; they are scored "
    "beside the others to show how much that matters.",
    "The ocean is simulated. What holds here says that the tools find what is there, not what a real emulator would rest on.",
]


def page(
    ds: xr.Dataset,
    findings: Sequence[object],
    losses: Sequence[str],
    scores: xr.Dataset,
    out: Path,
    unsure: xr.Dataset | None = None,
) -> None:
    """Write what `tsattr.demo.climate` found as one self-contained file."""
    title = "Demo: what does a climate emulator look at?"
    said = [str(finding) for finding in findings]
    verdict, bad = completeness_verdict(ds)
    sections = [
        f"<header><h1>{escape(title)}</h1></header>",
        f'<section class="short" aria-label="In short">{markup.bullets(said)}</section>',
        markup.section("What was asked", markup.terms(_ASKED)),
        markup.section("How good the emulator is", _skill(_part(ds, "skill"))),
        markup.section("Where the importance lies", *_maps(ds)),
        markup.section("How it falls off with distance and lag", *_profiles(ds)),
        markup.section(
            "What makes the emulator unsure", *([] if unsure is None else what_makes_unsure(unsure, ds["input"]))
        ),
        markup.section("What the forecast loses", markup.bullets(losses), *_losses(_part(ds, "ablation"))),
        markup.section(
            "Methods against the truth", _methods(scores), markup.paragraph(f"IG, climatology: {verdict}", bad)
        ),
        markup.section("What can and cannot be concluded", markup.bullets(_NOTES)),
        markup.section("Settings and versions", _settings(ds)),
    ]
    made = f"Made by tsattr on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. This page loads nothing from the network."
    write_text(markup.page(title, "\n".join(sections), made), out)


def _part(ds: xr.Dataset, name: str) -> xr.Dataset:
    """Return the variables of one analysis, without its prefix."""
    names = [str(k) for k in ds.data_vars if str(k).startswith(f"{name}_")]
    return ds[names].rename({k: k.removeprefix(f"{name}_") for k in names})


def _skill(quality: xr.Dataset) -> str:
    rows = [
        (
            f"{forecast}, lead {lead}",
            *(number(float(quality[k].sel(forecast=forecast, lead=lead))) for k in ("acc", "rmse")),
        )
        for forecast in quality["forecast"].values
        for lead in quality["lead"].values
    ]
    caption = "Skill of the whole field on held-out months; persistence is the last month, scaled to fit"
    return markup.table(caption, ("forecast", "anomaly correlation", "RMSE [degC]"), rows)


def _maps(ds: xr.Dataset) -> list[str]:
    by_place = ds["importance"].sum("lag", min_count=1)
    truth = ds["planted"].sum("lag", min_count=1)
    found = by_place / by_place.sum(["lat", "lon"])
    both = xr.concat(
        [found, (truth / truth.sum(["lat", "lon"])).isel(target=[0])], "target", coords="minimal", join="outer"
    )
    both = both.assign_coords(target=[*found["target"].values, "planted"]).rename("share").assign_attrs(units="1")
    caption = "Share of the importance by place, all lags together; the box is outlined, land is grey."
    return [_picture(plot.world(both.rename(target="map"), region=ds["box"].astype(bool), columns=2), caption)]


def _profiles(ds: xr.Dataset) -> list[str]:
    planted = ds["planted"].sum(["lat", "lon"])
    planted = planted / planted.sum("lag")
    lags = plot.profile(_part(ds, "lag"))
    lags.axes[0].plot(planted["lag"], planted.transpose("lag", "target"), color=shade.INK, ls=":", lw=1)
    lags.axes[0].set_ylim(0, 1.05 * float(max(planted.max(), ds["lag_mass_share"].max())))
    return [
        _picture(
            plot.profile(_part(ds, "radial"), "density"),
            "Importance by distance from the box, as a multiple of what a uniform map would have there.",
        ),
        _picture(lags, "Share of the importance by lag, all places together; dotted: as planted."),
        _picture(plot.lag_distance(_part(ds, "panel")), "Share of the importance by lag and distance together."),
    ]


def _losses(lost: xr.Dataset) -> list[str]:
    caption = "Error of the forecast of the box without parts of the input. The region is the neighbourhood of the box."
    return [
        _picture(plot.skill(lost.sel(target=name), title=f"{name}, RMSE [degC]"), f"{name}: {caption}")
        for name in lost["target"].values
    ]


def _methods(scores: xr.Dataset) -> str:
    mean = scores["correlation"].mean("sample")
    order = np.argsort(-mean.values)
    rows = [(str(mean["method"].values[k]), number(float(mean[k]))) for k in order]
    caption = (
        "Correlation over cells with what each contributes, mean over samples and leads; a map that knows nothing: 0"
    )
    return markup.table(caption, ("method", "correlation"), rows)


def _settings(ds: xr.Dataset) -> str:
    rows = [(str(k), str(v)) for k, v in ds.attrs.items() if k != "findings"]
    return markup.table("As recorded in the result", ("setting", "value"), rows, kind="settings")


def _picture(figure: Figure, caption: str) -> str:
    return markup.picture(figure, caption, caption)
