"""Measures of explanations: cells are taken away in the order that each map gives them, and the target is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from .. import metrics as measures
from ..core.completeness import incompleteness
from ..core.groups.masks import OneGroup
from ..core.results import check_count
from ..core.samples import SampleChunk
from ..core.shift.detector import Detector
from ..core.shift.scores import Shifts
from ..edge import trials
from ..edge.call import Call
from ..edge.warning import tell
from ..labels import alignment
from ..metrics import removal
from .defaults import default_fills, default_groups, is_random
from .settings import MEASUREMENT_DEFAULTS, RANKINGS

# name: (better, meaning, from which rows)
MEASURES = {
    "gap": ("higher", "area between the insertion and the deletion curve", "both"),
    "deletion": ("lower", "area under the target while the most important go first", "first"),
    "insertion": ("higher", "area under the target while the most important come first", "last"),
    "comprehensiveness": ("higher", "loss of the target without the most important", "first"),
    "sufficiency": ("lower", "loss of the target with the most important alone", "last"),
    "cumulative_deletion": ("higher", "summed steps of the target, the most important first", "first"),
    "cumulative_preservation": ("lower", "summed steps of the target, the least important first", "last"),
    "sensitivity_n": ("higher", "correlation of credit and loss over random subsets", "subsets"),
    "infidelity": ("lower", "mean squared misfit of credit and loss over random subsets", "subsets"),
    "completeness": ("lower", "gap between the map's sum and the loss of everything", "all"),
}
_OF_TRUTH = [
    "average_precision",
    "auroc",
    "aup",
    "aur",
    "mean_rank",
    "pointing_game",
    "relevance_mass",
    "relevance_rank",
]
COLUMNS = frozenset((*MEASURES, *_OF_TRUTH, *(f"{name}_chance" for name in _OF_TRUTH))) | frozenset(
    [
        "agreement",
        "better",
        "control",
        "deletion_curve",
        "difference",
        "difference_high",
        "difference_low",
        "distinguishable",
        "fill",
        "fill_auc",
        "fill_shift",
        "insertion_curve",
        "measure",
        "method",
        "method_other",
        "own_fill",
        "ranking",
        "score",
        "score_high",
        "score_low",
        "seconds",
        "share",
        "test_evaluations",
    ]
)
"""What tables of scores call their dims and variables, so that no sample dim or coordinate along it may be called so."""


@dataclass
class Measurement:
    """What is measured, on which groups and with which fills; everything bound to one input.

    Attributes
    ----------
    metrics
        The names of the measures.
    fills, unbound_fills
        By name, bound to the input and as given.
    share
        The shares of the groups (shares,), from 0 to 1, after whose removal the target is read.
    top
        The share at which comprehensiveness and sufficiency are read.
    """

    call: Call
    metrics: tuple[str, ...]
    fills: dict[str, Any]
    unbound_fills: dict[str, Any]
    groups: Any
    rankings: tuple[str, ...]
    truth: np.ndarray | None
    share: np.ndarray
    top: float
    subsets: int
    sizes: tuple[float, ...]
    draws: int

    @classmethod
    def of(cls, call: Call, settings: Mapping[str, Any]) -> Measurement:
        """Check and bind the settings of `evaluate`."""
        metrics, fills, units, rankings, truth, steps, top, subsets, sizes, draws = (
            settings[k] for k in MEASUREMENT_DEFAULTS
        )
        reference = call.settings["reference"]
        inputs = call.inputs
        inputs.check_samples(COLUMNS)
        metrics = tuple(MEASURES if metrics is None else [metrics] if isinstance(metrics, str) else metrics)
        for what, chosen, known in (("metrics", metrics, tuple(MEASURES)), ("rankings", rankings, RANKINGS)):
            if unknown := [k for k in chosen if k not in known]:
                raise ValueError(f"{what} knows {', '.join(known)}; got {unknown[0]!r}")
        for what, number in (("steps", steps), ("subsets", subsets), ("draws", draws)):
            check_count(what, number)
        if subsets < 3:
            raise ValueError(f"a correlation needs at least 3 subsets, got subsets={subsets}")
        for value in (top, *sizes):
            if not 0 < value < 1:
                raise ValueError(f"top and sizes are shares between 0 and 1, got {value}")
        unbound = default_fills(inputs, reference) if fills is None else dict(fills)
        if not unbound and metrics:
            raise ValueError("fills is empty: nothing can take the place of what is removed")
        return cls(
            call,
            metrics,
            {name: inputs.bind(fill, "baseline") for name, fill in unbound.items()},
            unbound,
            inputs.bind(default_groups(inputs) if units is None else units, "groups"),
            tuple(rankings),
            None if truth is None else alignment.read_mask(inputs, truth, "truth"),
            np.linspace(0, 1, steps + 1),
            top,
            subsets,
            tuple(sizes),
            draws,
        )

    def needs(self, *kinds: str) -> bool:
        """True where a measure needs rows of one of these kinds, the third entry of `MEASURES`."""
        return any(MEASURES[name][2] in kinds for name in self.metrics)

    def run(
        self,
        maps: Mapping[str, np.ndarray],
        *,
        controls: Callable[[SampleChunk, Tensor], Mapping[str, Tensor]] | None = None,
    ) -> xr.Dataset:
        """Measure maps (samples, targets, *event) by name, and those that `controls` makes of them, on the same rows."""
        call, inputs = self.call, self.call.inputs
        targets = len(call.targets.each)
        each = 2 * len(self.rankings) * targets
        arrays = each * (len(maps) + 2) + len(self.sizes) * self.subsets
        total = inputs.n * len(self.fills) * each * len(maps) * len(self.share) // 2
        parts: list[xr.Dataset] = []
        names: list[str] = []
        with trials.running(call, total, "evaluate") as engine:
            if total:
                engine.foresee(self._likely(each, len(maps) + 2 * (controls is not None)) * inputs.n / total)
            for at, samples in call.chunks(engine, arrays=arrays):
                several = torch.stack([torch.as_tensor(m[at]).to(samples.x.device) for m in maps.values()])
                extra = {} if controls is None else controls(samples, several)
                names = [*maps, *extra]
                parts.append(self._measure(samples, torch.cat([several, *(e[None] for e in extra.values())])))
        if engine.unfilled:
            unfilled = ", ".join(inputs.names(sorted(engine.unfilled)[:10]))
            unfilled += ", ..." if len(engine.unfilled) > 10 else ""
            tell(f"a fill has no value (NaN) for cells of {inputs.sample_dim} {unfilled}, which has no scores then")
        asked = engine.bound
        if asked.taken:
            tell(asked.taken)
        ds = xr.concat(parts, "sample", join="exact")
        if not call.targets.several:
            ds = ds.isel(target=0, drop=True)
        elif "target" in ds.dims:
            ds = ds.assign_coords(target=list(asked.names))
        ds = ds.assign_coords(method=names, fill=list(self.fills), ranking=list(self.rankings), share=self.share)
        ds = ds.rename(sample=inputs.sample_dim).assign_coords(inputs.sample_coords())
        for name, variable in ds.items():
            if name in MEASURES:
                variable.attrs = {"better": MEASURES[str(name)][0], "long_name": MEASURES[str(name)][1]}
        ds.attrs = {
            "target": ", ".join(asked.names),
            "fills": "; ".join(f"{k}={v!r}" for k, v in self.unbound_fills.items()),
            "seed": call.seed,
            "top": self.top,
            **({"target_taken": asked.taken} if asked.taken else {}),
            **{k: engine.notes[k] for k in ("trial_rows", "repeated_rows", "evaluation") if k in engine.notes},
        }
        return ds

    @property
    def gaps(self) -> bool:
        """Whether a fill puts missing cells in."""
        return any(fill.gaps > 0 for fill in self.fills.values())

    def _likely(self, each: int, maps: int) -> int:
        """Rows of a sample: so many orders of each of the maps, and random subsets; of fills that draw, for each draw."""
        draws = sum(self.draws if is_random(fill) else 1 for fill in self.unbound_fills.values())
        subsets = len(self.sizes) * self.subsets if self.needs("subsets") else 0
        return draws * (each * maps * len(self.share) // 2 + subsets)

    def off_data(self, clean: np.ndarray, most: int = 200) -> xr.Dataset:
        """How far off clean data (samples, *event) each fill leaves the first samples with half of their groups gone.

        ``fill_shift`` (fill): the share beyond the 99th percentile of clean data; ``fill_auc``: how well a classifier tells
        them from the intact samples. Half of the groups, drawn at random: about the middle of every curve.
        """
        inputs, found = self.call.inputs, {}
        with self.call.unchecked().quiet().running(0) as engine:
            detector = Detector.fit(clean, inputs.parts, seed=self.call.seed, gaps=self.gaps)
            shifts: dict[str, Shifts] = {}
            for at, samples in self.call.chunks(engine, arrays=4, most=most):
                playing = self.groups.count(samples.valid_cells, samples.position) > 0
                absent = removal.subset(samples, self.groups, playing, -1) < playing.sum(1, keepdim=True) / 2
                half = self.groups.union(absent & playing, samples.position).expand_as(samples.x)
                groups = OneGroup(half, at.start, "half")
                for name, fill in self.fills.items():
                    shift = shifts.setdefault(name, Shifts(detector, fill, groups))
                    shift.groups = groups
                    shift(samples)
            found = {name: shift.summary() for name, shift in shifts.items()}
        return xr.Dataset(
            {
                "fill_shift": ("fill", [float(f["shift_beyond"][0]) for f in found.values()]),
                "fill_auc": ("fill", [float(f["detector_auc"]) for f in found.values()]),
            }
        )

    def _measure(self, samples: SampleChunk, maps: Tensor) -> xr.Dataset:
        """Every measure of maps (methods, n, targets, *event) on some samples."""
        before = samples.evaluations.clone()
        shape, plan = (len(maps), samples.targets), self._plan(samples, maps)
        known = torch.nan_to_num(maps.to(torch.float64))
        sums = self._sums(samples, known, plan["subsets"])
        fields: dict[str, list[np.ndarray]] = {}
        for name, fill in self.fills.items() if self.metrics else ():
            draws = self.draws if is_random(self.unbound_fills[name]) else 1
            found = removal.target_values(
                samples, self.groups, fill, [o for part in plan.values() for o in part], draws
            )
            values = {part: [found.pop(0) for _ in orders] for part, orders in plan.items()}
            down, up = (self._curves(values[part], shape) for part in ("first", "last"))
            scores = {"deletion_curve": down, "insertion_curve": up} | self._areas(down, up)
            y = samples.prediction[:, None]
            if values["subsets"]:
                change = torch.stack([(y - v)[:, 0] for v in values["subsets"]], 2).cpu().numpy()
                scores |= self._subset_scores(sums, change)
            if values["all"]:
                scores["completeness"] = _gap(known, (y - values["all"][0])[:, 0]).cpu().numpy()
            for key, block in scores.items():
                if block.size:
                    fields.setdefault(key, []).append(block)
        ds = self._labelled(fields, self._lost(samples, maps))
        if self.truth is not None:
            ds.update(self._against_truth(samples, maps))
        ds["prediction"] = ("sample", "target"), samples.prediction.cpu().numpy()
        ds["model_evaluations"] = "sample", (samples.evaluations - before + 1).cpu().numpy()
        return ds.transpose("method", "sample", "fill", "ranking", "share", "target", missing_dims="ignore")

    def _plan(self, samples: SampleChunk, maps: Tensor) -> dict[str, list[removal.Order]]:
        """The orders of removal that the measures need, for each method, target and ranking, and at random."""
        playing = self.groups.count(samples.valid_cells, samples.position) > 0
        number = playing.sum(1)[:, None]
        counts = (torch.as_tensor(self.share, device=number.device) * number).round().to(torch.int64)
        orders = []
        if self.needs("first", "last", "both"):
            ties = removal.ties(samples, self.groups)
            for m in maps.transpose(1, 2).flatten(0, 1):
                credit = removal.credit(self.groups, m, samples.position)
                for ranking in self.rankings:
                    score = credit.abs() if ranking == "absolute" else credit
                    orders.append(removal.Order(removal.by_score(score, playing, ties), counts))
        return {
            "first": orders if self.needs("first", "both") else [],
            "last": [order.kept(playing) for order in orders] if self.needs("last", "both") else [],
            "subsets": self._subsets(samples, playing) if self.needs("subsets") else [],
            "all": [removal.everything(playing)] if self.needs("all") else [],
        }

    @staticmethod
    def _labelled(fields: Mapping[str, list[np.ndarray]], lost: np.ndarray) -> xr.Dataset:
        """Blocks (methods, targets, n[, rankings[, shares]]) of each fill as variables, NaN where a map is lost."""
        ds = xr.Dataset()
        for key, blocks in fields.items():
            whole = np.stack(blocks, 3)
            whole[lost] = np.nan
            dims = ("method", "target", "sample", "fill", "ranking", "share")
            ds[key] = dims[: whole.ndim], whole
        return ds

    def _subsets(self, samples: SampleChunk, playing: Tensor) -> list[removal.Order]:
        """Random subsets of each size, at least one group gone and one left."""
        number = playing.sum(1)[:, None]
        out = []
        for s, size in enumerate(self.sizes):
            count = (size * number).round().to(torch.int64).clamp(min=1).minimum((number - 1).clamp(min=0))
            for k in range(self.subsets):
                place = removal.subset(samples, self.groups, playing, s * self.subsets + k)
                out.append(removal.Order(place, count))
        return out

    def _sums(self, samples: SampleChunk, maps: Tensor, random: list[removal.Order]) -> np.ndarray:
        """What the maps credit the cells of each random subset with: (methods, targets, n, subsets)."""
        if not random:
            return np.empty(0)
        sums = []
        for order in random:
            absent = self.groups.union(order.place < order.counts, samples.position).expand_as(samples.x)
            absent = absent & samples.valid_cells
            sums.append((maps * absent[:, None]).flatten(3).sum(3).transpose(1, 2))
        return torch.stack(sums, 3).cpu().numpy()

    def _curves(self, values: list[Tensor], shape: tuple[int, int]) -> np.ndarray:
        """Curves (methods, targets, n, rankings, shares) from values (n, shares, targets) of each order."""
        if not values:
            return np.empty(0)
        every = torch.stack(values).reshape(*shape, len(self.rankings), *values[0].shape)  # each order's own target
        own = torch.stack([every[:, t, ..., t] for t in range(shape[1])], 1)
        return own.transpose(2, 3).cpu().numpy()

    def _areas(self, down: np.ndarray, up: np.ndarray) -> dict[str, np.ndarray]:
        """Measures of deletion and insertion curves (methods, targets, n, rankings, shares)."""
        q, out = self.share, {}
        if down.size:
            out["deletion"] = measures.area(down, q)
            out["comprehensiveness"] = measures.drop(down, q, self.top)
            out["cumulative_deletion"] = measures.cumulative_change(down, q)
        if up.size:
            out["insertion"] = measures.area(up, q)
            out["sufficiency"] = measures.drop(up[..., ::-1], q, 1 - self.top)
            out["cumulative_preservation"] = measures.cumulative_change(up[..., ::-1], q)
        if down.size and up.size:
            out["gap"] = out["insertion"] - out["deletion"]
        return {name: v for name, v in out.items() if name in self.metrics}

    def _subset_scores(self, sums: np.ndarray, change: np.ndarray) -> dict[str, np.ndarray]:
        """Means over the sizes, from credit (methods, targets, n, subsets) and change (n, targets, subsets)."""
        a = sums.reshape(*sums.shape[:3], len(self.sizes), self.subsets)
        b = change.swapaxes(0, 1).reshape(*change.shape[1::-1], len(self.sizes), self.subsets)
        out = {"sensitivity_n": measures.sensitivity_n(a, b), "infidelity": measures.infidelity(a, b)}
        return {name: v.mean(-1) for name, v in out.items() if name in self.metrics}

    @staticmethod
    def _lost(samples: SampleChunk, maps: Tensor) -> np.ndarray:
        """(methods, targets, n): True where there is no map, or the model gave no finite value."""
        known = ~torch.isnan(maps) if samples.valid is None else ~torch.isnan(maps) & samples.valid[:, None]
        lost = ~known.flatten(3).any(3) | samples.failed[:, None]
        return lost.transpose(1, 2).cpu().numpy()

    def _against_truth(self, samples: SampleChunk, maps: Tensor) -> dict[str, Any]:
        """Measures of localisation of the signed and the absolute map, with their levels of chance."""
        assert self.truth is not None
        truth = self.truth[samples.position.cpu().numpy()].reshape(samples.n, -1)
        found: dict[str, list[np.ndarray]] = {}
        for m in maps.transpose(1, 2).flatten(0, 1).flatten(2):
            m = m.to(torch.float64)
            m = m if samples.valid is None else torch.where(samples.valid.flatten(1), m, torch.nan)
            for ranking in self.rankings:
                score = (m.abs() if ranking == "absolute" else m).cpu().numpy()
                for key, v in measures.against_truth(score, truth).items():
                    found.setdefault(key, []).append(v)
        shape = (len(maps), samples.targets, len(self.rankings), samples.n)
        dims = ("method", "target", "ranking", "sample")
        about = {"uses_truth": 1, "better": "higher"}
        return {k: (dims, np.stack(v).reshape(shape), about) for k, v in found.items()}


def _gap(maps: Tensor, change: Tensor) -> Tensor:
    """The completeness error of maps (methods, n, targets, ...) as (methods, targets, n)."""
    return incompleteness(maps.flatten(3).sum(3), change, maps.flatten(3).norm(dim=3))[1].transpose(1, 2)
