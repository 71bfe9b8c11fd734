"""A method of your own, in a file of your own: LIME beside kernel SHAP and occlusion, with the same number of model rows.

LIME (Ribeiro, Singh and Guestrin, KDD 2016) takes random sets of groups away and fits the model's answers by a ridge
regression on which groups are absent. Sets that leave more of the sample weigh more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

import tsattr as ta
from tsattr.core.samples import SampleChunk
from tsattr.demo import SmallECGNet, accuracy, train
from tsattr.testing import EVENT, Field, Method, check_method

SETS = 2**36  # the stream of random numbers that the sets are drawn from, apart from those of baselines


@dataclass(frozen=True)
class Lime(Method):
    """Ridge regression of what the target loses on which groups are absent, over random sets of groups.

    Parameters
    ----------
    groups, baseline
        What goes absent together, and what takes its place. Each set has a draw of the baseline of its own.
    sets
        Number of random sets. A group is in a set with probability 1/2.
    width
        Of the kernel ``exp(-d^2 / width^2)``, where d is the cosine distance between the groups present and all groups.
    penalty
        Weight of the sum of squared values.
    """

    groups: Any
    baseline: Any
    sets: int = 1000
    width: float = 0.25
    penalty: float = 1.0
    gradient: ClassVar[bool] = False
    binds: ClassVar[Mapping[str, str]] = {"groups": "groups", "baseline": "baseline"}
    effort: ClassVar[tuple[str, ...]] = ("sets",)
    in_target_units: ClassVar[bool] = True
    sentence: ClassVar[str] = "LIME: a linear model of which groups are present, fitted to random sets of absent ones."
    note: ClassVar[str] = "The values are slopes of a linear fit near the sample. They do not sum to the prediction."

    def __post_init__(self) -> None:
        if min(self.sets, self.width, self.penalty) <= 0:
            raise ValueError(f"sets, width and penalty are above 0, got {self.sets}, {self.width} and {self.penalty}")

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        size = self.groups.count(samples.valid_cells, samples.position)  # valid cells of each group
        value = torch.empty(samples.n, samples.targets, size.shape[1], dtype=torch.float64, device=size.device)
        for i, draw in samples.draws(copies=self.sets):
            absent = self._sets(samples, i, draw, size[i] > 0)
            row, number = torch.ones(absent.shape[:2], device=i.device).nonzero(as_tuple=True)
            lost = torch.empty(len(row), samples.targets, dtype=torch.float64, device=i.device)
            for at, v in samples.without(self.groups, self.baseline, i[row], number, absent.flatten(0, 1)):
                lost[at] = samples.prediction[i[row[at]]] - v
            present = 1 - absent.sum(2) / (size[i] > 0).sum(1, keepdim=True)
            weight = torch.exp(-(((1 - present.sqrt()) / self.width) ** 2))
            value[i] = ridge(absent, lost.reshape(len(i), self.sets, -1), weight, self.penalty)
        value = torch.where(size[:, None] > 0, value, torch.nan)
        evenly = self.groups.spread(torch.nan_to_num(value / size[:, None]), samples.position, mean=False)
        maps = evenly.expand(samples.n, samples.targets, *samples.event)
        return {"attribution": Field(("target", EVENT), maps), "group_value": Field(("target", "group"), value)}

    def _sets(self, samples: SampleChunk, i: Tensor, draw: Tensor, playing: Tensor) -> Tensor:
        """Random sets of the groups that have valid cells, bool (samples, sets, groups)."""
        key, order = samples.key(i, draw).fork(SETS), self.groups.order
        absent = np.zeros((len(i), self.sets, playing.shape[1]), bool)
        for row, plays in enumerate(playing.cpu().numpy()):
            players = order[plays[order]]
            absent[row][:, players] = key.rng(row).random((self.sets, len(players))) < 0.5
        return torch.as_tensor(absent, device=i.device)

    def rows(self) -> tuple[int, int]:
        return 1 + self.sets, 1 + self.sets

    def within(self, rows: int) -> "Lime":
        return replace(self, sets=min(self.sets, rows - 1))


def ridge(z: Tensor, y: Tensor, weight: Tensor, penalty: float) -> Tensor:
    """Slopes (n, targets, groups) of `y` (n, sets, targets) on `z` (n, sets, groups), with an intercept and weights (n, sets)."""
    # The intact sample is one more set, with the largest weight: nothing is absent and nothing lost.
    z, y = (nn.functional.pad(v.to(torch.float64), (0, 0, 1, 0)) for v in (z, y))
    weight = nn.functional.pad(weight.to(torch.float64), (1, 0), value=1.0)[..., None]
    z, y = (v - (weight * v).sum(1, keepdim=True) / weight.sum(1, keepdim=True) for v in (z, y))
    gram = z.mT @ (weight * z) + penalty * torch.eye(z.shape[2], dtype=z.dtype, device=z.device)
    slopes: Tensor = torch.linalg.solve(gram, z.mT @ (weight * y))
    return slopes.mT


# The laws that the package's own methods keep. One cannot hold: a regression on random sets gives an unused group what
# chance gives it, which is less with more sets.
laws = check_method(
    Lime(ta.groups.Windows(time=4, lead=1), ta.baselines.Uniform(-1.0, 1.0), sets=50),
    exempt={"an unused feature gets exactly nothing": "the values are estimated by regression on random sets"},
)
print(
    f"{sum(found == 'holds' for found in laws.values())} of {len(laws)} laws hold; others do not apply, or are exempt"
)

# A network that tells five classes of simulated records, and records that it has not seen and gets right.
torch.manual_seed(0)
lesions = ("st_elevation_anterior", "t_inversion", "pathologic_q", "pvc")
data = ta.datasets.simulate_ecg(420, lesions=lesions, duration=4.0, seed=0)
names = data.label.attrs["flag_meanings"].split()
x, y = data.ecg, data.label.values
net = SmallECGNet(classes=len(names))
train(net, x.values[:320], y[:320], epochs=7)
print(f"accuracy on 100 held-out records: {accuracy(net, x.values[320:], y[320:]):.2f}")
with torch.no_grad():
    right = net(torch.as_tensor(x.values[320:])).argmax(1).numpy() == y[320:]
chosen = 320 + np.flatnonzero(right & (y[320:] > 0))[:16]

# Beside the package's own methods, with the same groups, the same baseline and the same rows of the model.
windows, usual = ta.groups.Windows(time="500ms", lead=1), ta.baselines.Bridge()
methods = {
    "LIME": Lime(windows, usual),
    "kernel SHAP": ta.KernelShap(windows, usual),
    "occlusion": ta.Occlusion(windows, usual),
}
table = ta.compare(
    net,
    x[chosen],
    methods,
    outputs={"class": names},
    truth=data.truth[chosen],
    budget=400,
    metrics=["gap", "deletion", "insertion"],
)
score = table.score.sel(ranking="signed", measure=["gap", "deletion", "insertion"]).to_pandas().T
score["average precision"] = table.average_precision.sel(ranking="absolute").mean("sample").to_pandas()
score["rows"] = table.model_evaluations.mean("sample").to_pandas()
print(score.round(3).to_string())
print(table.attrs["recommendation"])
