"""Methods of an outsider are found right, and each way to get one wrong is found by the law meant for it."""

import numpy as np
import pytest
import xarray as xr
from torch import nn

import tsattr as ta
from tsattr.testing import LawBroken, check_method

from ..conftest import signals
from .sources import imported, is_found_wrong

SHARED = '''
"""What each group is worth: the loss without it, divided evenly among its cells."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

import tsattr as ta
from tsattr.testing import EVENT, Field, Method, OverBudget


@dataclass(frozen=True)
class Shared(Method):
    """``v_g = f(x) - f(x without g)``, the mean over the baseline's draws; a cell has its share of its groups' values."""

    groups: Any
    baseline: Any = ta.baselines.Constant(0.0)
    draws: int = 2
    gradient: ClassVar[bool] = False
    in_target_units: ClassVar[bool] = True
    binds: ClassVar[Mapping[str, str]] = {"groups": "groups", "baseline": "baseline"}
    effort: ClassVar[tuple[str, ...]] = ("draws",)

    def __call__(self, samples):
        cells = self.groups.count(samples.valid_cells, samples.position)
        pairs = (cells > 0).nonzero().repeat_interleave(self.draws, 0)
        draw = torch.arange(len(pairs)) % self.draws
        i, k = pairs.unbind(1)
        total = torch.zeros(samples.n, samples.targets, len(self.groups.names), dtype=torch.float64)
        for at, v in samples.without(self.groups, self.baseline, i, draw, k):
            loss = samples.prediction[i[at]] - v
            total.index_put_((i[at, None], torch.arange(samples.targets), k[at, None]), loss / self.draws, accumulate=True)
        value = torch.where(cells[:, None] > 0, total, torch.nan)
        maps = self.groups.spread(total / cells.clamp(min=1)[:, None], samples.position, mean=False)
        maps = maps.expand(samples.n, samples.targets, *samples.event)
        return {"attribution": Field(("target", EVENT), maps), "group_value": Field(("target", "group"), value)}

    def rows(self):
        return 1, 1 + self.draws * len(self.groups.names)

    def within(self, rows):
        draws = (rows - 1) // len(self.groups.names)
        if draws < 1:
            raise OverBudget(f"{rows} rows a sample allow no draw of every group; give more rows")
        return replace(self, draws=min(self.draws, draws))
'''

PATH = '''
"""Gradients along the straight line from the baseline to the input."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

import tsattr as ta
from tsattr.testing import EVENT, Field, Method, Status, completeness


@dataclass(frozen=True)
class Path(Method):
    """``(x - x') mean_s df/dx (x' + s (x - x'))`` at the middles of equal steps."""

    baseline: Any = ta.baselines.Constant(0.0)
    steps: int = 6
    gradient: ClassVar[bool] = True
    in_target_units: ClassVar[bool] = True
    binds: ClassVar[Mapping[str, str]] = {"baseline": "baseline"}

    def __call__(self, samples):
        every = samples.indices
        start = samples.fill(self.baseline, every, torch.zeros_like(every))
        i = every.repeat_interleave(self.steps)
        share = ((torch.arange(len(i)) % self.steps + 0.5) / self.steps).reshape(-1, *[1] * len(samples.event))

        def points(at):
            return torch.lerp(start[i[at]], samples.x[i[at]], share[at].to(start))

        slope = torch.zeros(samples.n, samples.targets, *samples.event, dtype=torch.float64)
        for at, grads in samples.gradients(i, points):
            slope.index_add_(0, i[at], torch.stack(grads, 1).double())
        maps = slope / self.steps * torch.where(samples.valid_cells, samples.x - start, 0).double()[:, None]
        reference = torch.empty_like(samples.prediction)
        for at, v in samples.without(None, self.baseline, every, torch.zeros_like(every)):
            reference[at] = v
        checks = completeness(samples, maps, maps.flatten(2).sum(2), reference)
        missed = checks["completeness_error"].values.amax(1) > 0.9
        samples.record_state(every, torch.where(missed, Status.NOT_CONVERGED, Status.OK))
        return {"attribution": Field(("target", EVENT), maps)} | checks

    def rows(self):
        return 2 + self.steps, 2 + self.steps
'''

WINDOWS = ta.groups.Windows(time=4, lead=1)
UNIFORM = ta.baselines.Uniform(-1.0, 1.0)


def shared(folder, *changes):
    return imported(folder, SHARED, *changes).Shared(WINDOWS, UNIFORM)


def path(folder, *changes):
    return imported(folder, PATH, *changes).Path()


LOSS = "loss = samples.prediction[i[at]] - v"
MAPS = "maps = slope / self.steps * torch.where(samples.valid_cells, samples.x - start, 0).double()[:, None]"
START = "        cells = self.groups.count("
MUTANTS = {
    # of one that removes
    "a call that changes the settings": (
        shared,
        "settings are frozen",
        (START, '        type(self.baseline.low) and self.__dict__.setdefault("calls", []).append(1)\n' + START),
    ),
    "dims in another order": (
        shared,
        "it explains the example",
        ('Field(("target", EVENT), maps)', 'Field((EVENT, "target"), maps)'),
    ),
    "a map too small": (
        shared,
        "it explains the example",
        ('EVENT), maps), "group', 'EVENT), maps[..., :-1]), "group'),
    ),
    "no map": (shared, "it explains the example", ('{"attribution":', '{"map":')),
    "infinite": (shared, "it explains the example", ("total / cells.clamp(min=1)[:, None]", "total / 0")),
    "the first batch alone": (
        shared,
        "batch size changes nothing",
        (LOSS, "loss = (samples.prediction[i[at]] - v) * (at.start == 0)"),
    ),
    "a share of the batch": (
        shared,
        "a batch equals single runs",
        ("loss / self.draws", "loss / self.draws / samples.n"),
    ),
    "draws by the place in the batch": (
        shared,
        "order and company change nothing",
        ("draw = torch.arange(len(pairs)) % self.draws", "draw = torch.arange(len(pairs))"),
    ),
    "the place in the chunk for that in the input": (
        shared,
        "chunks change nothing",
        (LOSS, "loss = (samples.prediction[i[at]] - v) * (1 + i[at, None] * (samples.ids < 100).all().item())"),
    ),
    "the place of a dim for its name": (
        shared,
        "permuting dims permutes the answer",
        (
            "        maps = maps.expand(",
            "        maps = maps * torch.arange(1.0, 1 + samples.event[-1])\n        maps = maps.expand(",
        ),
    ),
    "sums in bfloat16": (
        shared,
        "float32 agrees with float64",
        (LOSS, LOSS + "\n            loss = loss.bfloat16().double() if samples.x.dtype == torch.float32 else loss"),
    ),
    "the first target for all": (
        shared,
        "several targets equal single runs",
        (LOSS, "loss = samples.prediction[i[at]][:, :1] - v[:, :1].expand_as(v)"),
    ),
    "fewer rows than it takes": (
        shared,
        "rows() and work() bound what is asked",
        ("return 1, 1 + self.draws *", "return 1, 1 +"),
    ),
    "more rows at least than it takes": (
        shared,
        "rows() and work() bound what is asked",
        ("return 1, 1 + self.draws *", "return 60, 60 + self.draws *"),
    ),
    "rows that it does not count": (
        shared,
        "rows() and work() bound what is asked",
        (START, "        samples.engine.outputs(samples.x.clone(), samples.position)\n" + START),
    ),
    "work that has no end": (
        shared,
        "rows() and work() bound what is asked",
        ("    def within(", '    def work(self):\n        return 1.0, float("inf")\n\n    def within('),
    ),
    "more than the budget": (
        shared,
        "within(budget) keeps to the budget",
        ("draws=min(self.draws, draws)", "draws=max(self.draws, draws)"),
    ),
    "an effort that is not said": (
        shared,
        "within(budget) keeps to the budget",
        ('effort: ClassVar[tuple[str, ...]] = ("draws",)', "effort: ClassVar[tuple[str, ...]] = ()"),
    ),
    "numbers of the global state": (
        shared,
        "one seed gives one answer",
        ("value = torch.where(", "total = total + torch.randn(()) * 0.1\n        value = torch.where("),
    ),
    "one seed for all": (
        shared,
        "another seed gives another answer",
        (START, "        samples.engine.seed = 0\n" + START),
    ),
    "a neighbour's share": (
        shared,
        "an unused feature gets exactly nothing",
        ("maps = maps.expand(", "maps = maps + maps.flatten(2).sum(2)[..., None, None]\n        maps = maps.expand("),
    ),
    "not in the target's units": (
        shared,
        "attributions are in the target's units",
        (LOSS, LOSS + "\n            loss = loss**2"),
    ),
    "forgets invalid cells": (
        shared,
        "padding changes nothing elsewhere",
        ("self.groups.count(samples.valid_cells,", "self.groups.count(samples.valid_cells | True,"),
    ),
    "looks at what is invalid": (
        shared,
        "padding changes nothing elsewhere",
        (
            "        maps = maps.expand(",
            "        maps = maps + samples.x.flatten(1).sum(1)[:, None, None, None]\n        maps = maps.expand(",
        ),
    ),
    "leaks NaN": (
        shared,
        "NaN never leaks",
        (
            "        maps = maps.expand(",
            "        maps = maps + 0 * samples.known.sum((1, 2))[:, None, None, None]\n        maps = maps.expand(",
        ),
    ),
    "a sum over the samples": (
        shared,
        "trouble with a sample stops no other",
        ("value = torch.where(", "total = total + 0 * samples.prediction.sum()\n        value = torch.where("),
    ),
    "NaN of the baseline for a zero": (
        shared,
        "what a baseline does not know is never a zero",
        (
            "in samples.without(self.groups, self.baseline, i, draw, k):",
            "in samples.values(i, lambda at: torch.where(self.groups.mask(samples.position[i[at]], k[at]), torch.nan_to_num("
            "self.baseline.fill(samples.known[i[at]], self.groups.mask(samples.position[i[at]], k[at]).expand(-1, *samples.event), "
            "samples.key(i[at], draw[at]))), samples.x[i[at]])):",
        ),
    ),
    "a hook that stays": (
        shared,
        "the model is left as it was",
        (START, "        list(samples.engine.module.modules())[-1].register_forward_hook(lambda *_: None)\n" + START),
    ),
    "train mode": (
        shared,
        "the model is left as it was",
        (START, "        samples.engine.module.train()\n" + START),
    ),
    "runs in the main thread alone": (
        shared,
        "two calls at once give the answers of one",
        (START, "        __import__('signal').signal(2, __import__('signal').getsignal(2))\n" + START),
    ),
    "writes into the input": (
        shared,
        "a batch equals single runs",
        (
            "value = torch.where(",
            "samples.x.mul_(samples.n)\n        total = total * samples.x.mean()\n        value = torch.where(",
        ),
    ),
    "rows that are not its own": (
        shared,
        "a model may write into its input",
        (
            START,
            "        for _ in samples.values(samples.indices, lambda at: samples.x[at]):\n            pass\n" + START,
        ),
    ),
    "values that are kept": (
        shared,
        "a model may answer into a tensor of its own",
        (
            START,
            "        y = samples.engine.outputs(samples.x.clone(), samples.position)\n        z = y.clone()\n"
            "        samples.engine.outputs(samples.x.clone() + 1, samples.position)\n"
            "        samples.prediction = samples.prediction + (y - z).sum(1, keepdim=True)\n" + START,
        ),
    ),
    # of one with gradients
    "more than the difference": (
        path,
        "attributions sum to the difference",
        (MAPS, MAPS.replace("self.steps", "(self.steps + 1)")),
    ),
    "a gap that is not the sum's": (
        path,
        "attributions sum to the difference",
        ("maps.flatten(2).sum(2), reference", "maps.flatten(2).sum(2) * 0.9, reference"),
    ),
    "the sum over the wrong cells": (
        path,
        "a linear model gives weight times the distance to the baseline",
        (MAPS, MAPS + "\n        maps = maps.flip(-1)"),
    ),
    "forgets what befell a sample": (
        path,
        "a gradient that is not finite is no map",
        ("samples.record_state(every, torch.where(", "samples.state.copy_(torch.where("),
    ),
    "ok whatever the sum": (path, "a model that blocks gradients is never ok", ("amax(1) > 0.9", "amax(1) > 9.0")),
}


def test_a_method_of_an_outsider_is_found_right(tmp_path):
    report = check_method(shared(tmp_path))
    assert {law for law, found in report.items() if found != "holds"} == {
        "attributions sum to the difference",
        "a linear model gives weight times the distance to the baseline",
        "a gradient that is not finite is no map",
        "a model that blocks gradients is never ok",
    }
    report = check_method(path(tmp_path))
    assert {law for law, found in report.items() if found != "holds"} == {
        "another seed gives another answer",
        "a model may write into its input",
        "a model may answer into a tensor of its own",
    }


@pytest.mark.parametrize("name", MUTANTS)
def test_a_method_that_is_wrong_is_found_by_the_law_meant_for_it(name, tmp_path):
    make, law, change = MUTANTS[name]
    method = make(tmp_path, change)
    is_found_wrong(lambda **only: check_method(method, **only), law, whole=False)


def test_a_message_says_what_was_seen_and_how_it_is_mended(tmp_path):
    make, law, change = MUTANTS["fewer rows than it takes"]
    method = make(tmp_path, change)
    message = is_found_wrong(lambda **only: check_method(method, **only), law, whole=False)
    assert "Seen: the model saw " in message
    assert " rows, and a dry run says " in message
    assert message.endswith("those of no sample; work() their work.")


def test_a_law_that_a_method_does_not_promise_is_named_with_its_reason():
    law = "an unused feature gets exactly nothing"
    with pytest.raises(LawBroken, match=f"{law}.*Seen: an attribution of an unused cell is"):
        check_method(ta.GradCAM(), laws=[law])
    why = {law: "a layer mixes the leads"}
    report = check_method(ta.GradCAM(), exempt=why)
    assert report[law] == "does not apply: a layer mixes the leads"
    assert report["a gradient that is not finite is no map"] == "holds"


def test_a_model_and_an_input_of_ones_own():
    x = xr.DataArray(
        np.random.default_rng(0).normal(size=(6, 5, 4)),
        dims=("time", "patient", "vital"),
        coords={"vital": ["hr", "rr", "t", "ph"], "patient": range(5)},
    )
    model = nn.GRU(4, 3, batch_first=True).double().eval()

    def forward(rows):
        return model(rows)[0]

    method = ta.WinIT(3, ta.baselines.Marginal.fit(x.rename(patient="sample")), draws=2)
    report = check_method(method, forward, x, sample_dim="patient", outputs=("time", "class"))
    assert report["it explains the example"] == "holds"
    assert report["float32 agrees with float64"] == "does not apply: the model is no module, or x is not in float64"
    report = check_method(ta.Saliency(), x=x, sample_dim="patient", target=2)
    assert report["permuting dims permutes the answer"] == "holds"


def test_a_method_that_does_not_take_the_example_is_told_to_get_one():
    with pytest.raises(LawBroken, match=r"KeyError: .*no dim 'region'.* Give check_method a model=, x=, target="):
        check_method(ta.Occlusion(ta.groups.Along("region")), laws=["it explains the example"])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"method": ta.Saliency}, TypeError, "method is an object with its settings"),
        ({"method": 3}, TypeError, "method is an object such as"),
        ({"model": 3}, TypeError, "model is a torch module or a callable on tensors, got int"),
        ({"x": signals(3)}, ValueError, "x holds 3 samples; the laws need 4 or more"),
        ({"laws": ["gravity"]}, ValueError, "'gravity' is no law of methods; they are: 'settings are frozen'"),
    ],
)
def test_what_cannot_be_checked(given, error, message):
    with pytest.raises(error, match=message):
        check_method(**{"method": ta.Saliency()} | given)
