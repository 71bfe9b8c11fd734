"""Laws of a method's answer: what must not change it, what it costs, and where its random numbers come from."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from ...core.axes import Axes
from ...core.baselines import Jitter
from ...core.baselines.fills import adopted
from ...core.bound import Value
from ...core.targets.outputs import Target
from ...edge import call, trials
from ...edge.warning import ExplanationWarning
from ..cases import Spy, other_global_state
from ..laws import Seen, same, same_values, settings_are_frozen
from .case import LAWS, MethodCase

law = LAWS.law

_EFFORT = ("completeness_error", "steps", "model_evaluations")  # rounding may decide on a refinement


@law(
    "settings are frozen",
    "Write @dataclass(frozen=True) above the class, with every setting a field that its repr shows; all work happens in the call.",
)
def frozen(case: MethodCase) -> str | None:
    """Settings are frozen, comparable, printable and picklable, and a call leaves them as they are."""
    before = copy.deepcopy(case.method)
    case.explain(check=False)
    if before != case.method:
        raise Seen(f"{before!r} is {case.method!r} once it has been called")
    return settings_are_frozen(case.method)


@law(
    "it explains the example",
    "Give check_method a model=, x=, target= and outputs= that the method takes, where it does not take the defaults.",
)
def explains(case: MethodCase) -> None:
    """A map of the input's dims, with a number for some cells of each sample, and a status that says so."""
    found = case.answer
    if found.attribution.dims[: case.x.ndim] != case.x.dims:
        raise Seen(f"attribution with the dims {found.attribution.dims}, where those of x, {case.x.dims}, come first")
    if bad := [s for s in found.status.values.tolist() if s not in ("ok", "not converged")]:
        raise Seen(f"the status {bad[0]!r}")
    others = [d for d in found.attribution.dims if d != case.sample_dim]
    if np.isinf(found.attribution).any() or not np.isfinite(found.attribution).any(others).all():
        raise Seen("an attribution that is infinite, or has no number for any cell of a sample")


@law(
    "labels and dtype are kept",
    'Return Field(("target", EVENT), values): the labels are put on by explain.',
)
def labels(case: MethodCase) -> None:
    """The map has the dtype and the coordinates of the input."""
    found = case.answer.attribution
    if found.dtype != case.x.dtype:
        raise Seen(f"a map of {found.dtype} for an input of {case.x.dtype}")
    for k, coord in case.x.coords.items():
        if k not in found.coords or not found.coords[k].variable.identical(coord.variable):
            raise Seen(f"a map whose coordinate {k!r} is not that of x")


# ---- batches, chunks, company, order


@law(
    "batch size changes nothing",
    "Ask samples.without, samples.values or samples.gradients for all rows, and put each answer where its row belongs: out[i[at]] = v.",
)
def batch_size(case: MethodCase, sizes: Sequence[int] = (1, 3, 1000)) -> None:
    """Rows of one call of the model."""
    for size in sizes:
        same(case.explain(batch_size=size), case.answer, case.tolerance)


@law(
    "a batch equals single runs",
    "Work sample by sample: nothing is a mean, a sum or an extreme over the samples.",
)
def single_runs(case: MethodCase) -> None:
    """Each sample explained by itself."""
    for k in range(case.n):
        same(case.explain(x=case.at([k]), check=False), case.at([k], case.answer), case.tolerance)


@law(
    "order and company change nothing",
    "Draw by samples.key(i, draw), which knows a sample by its label, and never by its place among others.",
)
def order(case: MethodCase) -> None:
    """Some of the samples in another order."""
    some = [3, 0, 2]
    same(case.explain(x=case.at(some), check=False), case.at(some, case.answer), case.tolerance)


@law(
    "chunks change nothing",
    "Keep nothing from one call of the method to the next; samples.position is a sample's place in the whole input.",
)
def chunks(case: MethodCase) -> None:
    """A sample at a time in memory; without labels draws are known by the position in the input."""
    by_label = case.sample_dim in repr(case.method)  # it holds arrays of these very samples
    x = case.x if by_label else case.x.drop_vars(case.sample_dim)
    whole = case.explain(x=x)
    with mock.patch.object(call, "_CHUNK", 1):
        same(case.explain(x=x, batch_size=3), whole, case.tolerance)


@law(
    "permuting dims permutes the answer",
    "Find a dim by its name and axis, never by its place; what is drawn group by group is drawn in groups.order.",
)
def dims(case: MethodCase, orders: Sequence[Sequence[str]] | None = None) -> None:
    """A transposed input, whose rows are turned back for the model."""
    event, sample = case.event, case.sample_dim
    for dims in orders or ([*event[::-1][:1], sample, *event[::-1][1:]], [*event, sample]):
        inner = [d for d in dims if d != sample]
        back = [0, *(1 + inner.index(d) for d in event)]
        model = case.around(lambda x, back=back, **context: case.model(x.permute(back), **context))
        found = case.explain(model, case.x.transpose(*dims))
        if found.attribution.dims[: len(dims)] != tuple(dims):
            raise Seen(f"a map with the dims {found.attribution.dims}, where those of x, {tuple(dims)}, come first")
        apart, expected = (ds.drop_dims("group", errors="ignore") for ds in (found, case.answer))  # numbered by dims
        same(apart.transpose(*case.x.dims, ...), expected.transpose(*case.x.dims, ...), case.tolerance)


@law(
    "float32 agrees with float64",
    "Keep sums in float64, and draw numbers in float64: key.normal(x) and key.uniform(x) do.",
)
def float32(case: MethodCase, tolerance: float | None = None, leave: Sequence[str] = _EFFORT) -> str | None:
    """The model and the input in single precision; by default as many units of the last place may be off as in double."""
    if not isinstance(case.model, nn.Module) or case.x.dtype != np.float64:
        return "the model is no module, or x is not in float64"
    digits = float(torch.finfo(torch.float32).eps / torch.finfo(torch.float64).eps)
    x = case.x.astype(np.float32)
    exact = case.answer if x.astype(np.float64).equals(case.x) else case.explain(x=x.astype(np.float64))
    found = case.explain(copy.deepcopy(case.model).float(), x)
    if found.attribution.dtype != np.float32 or found.prediction.dtype != np.float64:
        raise Seen(f"a map of {found.attribution.dtype} and a prediction of {found.prediction.dtype}")
    same(found, exact, tolerance or case.tolerance * digits, leave)
    return None


# ---- targets, rows


@dataclass(frozen=True)
class Squared(Target):
    """The square of a target's number."""

    of: Target

    @property
    def compares(self) -> bool:  # type: ignore[override]
        """As the target does."""
        return self.of.compares

    @property
    def unsigned(self) -> bool:  # type: ignore[override]
        """As the target is."""
        return self.of.unsigned

    def level(self, outputs: Axes) -> Value:
        """What the target measures a change of."""
        return self.of.level(outputs)

    def bind(self, outputs: Axes) -> Value:
        """The target's number times itself."""
        value = self.of.bind(outputs)
        return lambda y, y0: value(y, y0) ** 2


@law(
    "several targets equal single runs",
    "Values are (rows, targets): keep the axis of targets, and never take the first for all.",
)
def targets(case: MethodCase, several: Sequence[Any] | None = None) -> str | None:
    """A list of targets, and each by itself, where it takes as many rows then: effort may depend on all of them."""
    if several is None:
        targets = call.Call.of(case.model, case.x, case.method, **case.settings).targets
        if targets.several:
            return "the target is several"
        several = [targets.each[0], Squared(targets.each[0])]
    together = case.explain(target=list(several))
    adapted = False
    for k, target in enumerate(several):
        alone = case.explain(target=target)
        alike = np.flatnonzero((alone.model_evaluations == together.model_evaluations).values).tolist()
        adapted |= len(alike) < case.n
        order = alone.attribution.dims
        found, expected = (
            case.at(alike, ds.drop_vars("predicted", errors="ignore").transpose(*order, ..., missing_dims="ignore"))
            for ds in (together.isel(target=k, drop=True), alone)
        )
        same(found, expected, case.tolerance)
    return "its effort depends on the targets" if adapted else None


@law(
    "rows() and work() bound what is asked",
    "rows() is the fewest and the most rows of a sample, the intact one included, extra_rows those of no sample; work() their work.",
)
def rows(case: MethodCase) -> None:
    """What the model saw is what the result counts, and no more than what ``rows()`` and a dry run say."""
    for kind in ("rows", "work"):
        least, most = getattr(case.bound, kind)()
        if not (0 < least <= most < np.inf):
            raise Seen(f"{kind}() is ({least}, {most}), where a least above 0 and no greater than the most is expected")
    cost, spy = case.explain(dry_run="rows"), Spy(case.model)
    measured = case.explain(dry_run=True)
    if not (measured.equals(cost) and measured.attrs["rows"] == cost.attrs["rows"] and measured.attrs["seconds"] > 0):
        raise Seen(f"a dry run that asks the model says {measured.attrs}, and one that counts rows {cost.attrs}")
    found = case.explain(case.around(spy))
    asked = int(found.model_evaluations.sum()) + found.attrs["trial_rows"]
    if asked != spy.count:
        raise Seen(f"model_evaluations and trial_rows count {asked} rows, and the model saw {spy.count}")
    if spy.count > cost.attrs["rows"]:
        raise Seen(f"the model saw {spy.count} rows, and a dry run says {cost.attrs['rows']} at most")
    for bound, sign, words in (("model_evaluations_least", 1, "least"), ("model_evaluations", -1, "most")):
        if (worst := (sign * (cost[bound] - found.model_evaluations)).max()) > 0:
            raise Seen(f"a sample takes {int(worst)} rows {'fewer' if sign > 0 else 'more'} than the {words} of rows()")
    spy = Spy(case.model)
    untried = case.explain(case.around(spy), check=False)
    if spy.count != int(untried.model_evaluations.sum()) + untried.attrs["trial_rows"]:
        raise Seen(f"the model saw {spy.count} rows without its trials, which are not those that the result counts")
    same(untried, case.answer, case.tolerance)
    tried = found.attrs["trial_rows"] - untried.attrs["trial_rows"]
    if tried != (expected := trials.rows(call.Call.of(case.model, case.x, case.method, **case.settings))):
        raise Seen(f"the trials of the model take {tried} rows, where {expected} are expected")


@law(
    "within(budget) keeps to the budget",
    "Name in `effort` the settings that within(rows) changes, and choose them such that rows()[1] <= rows; raise OverBudget where none do.",
)
def budget(case: MethodCase) -> None:
    """``m.within(b).rows()[1] <= b`` or OverBudget, also where it is run so; what it takes anyway is always enough."""
    most = case.bound.rows()[1]
    case.bound.within(most)
    for rows in {most - 1, most // 2} - {0}:
        try:
            kept = case.bound.within(rows)
        except ValueError:  # OverBudget is one
            continue
        if kept.rows()[1] > rows:
            raise Seen(f"within({rows}) takes up to {kept.rows()[1]} rows")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExplanationWarning)  # less effort may be too little
            found = case.explain(method=case.method.with_effort_of(kept), check=False).model_evaluations
        if found.max() > rows:
            raise Seen(f"{int(found.max())} rows of a sample with the effort of within({rows})")


# ---- randomness


@law(
    "one seed gives one answer",
    "Draw from samples.key(i, draw), never from torch.rand or np.random; keep no state between calls.",
)
def one_seed(case: MethodCase) -> None:
    """The same call gives the same to the last bit, whatever the global random states are."""
    with other_global_state(1):
        again = case.explain()
    if not again.identical(case.answer):
        same(again, case.answer, 0)
        raise Seen("another result: its attributes or coordinates differ")


@law(
    "another seed gives another answer",
    "Draw the baseline for samples.key(i, draw): it holds the seed of the call.",
)
def other_seed(case: MethodCase) -> str | None:
    """Where the method has a baseline or noise that draws."""
    setting = case.method.setting("baseline") if case.method.has("baseline") else case.method.setting("noise")
    if setting is None:
        return "it has no baseline and no noise"
    if not adopted(Jitter(setting) if isinstance(setting, int | float) else setting).random:
        return "its baseline is the same in every draw"
    if np.allclose(case.explain(seed=1).attribution, case.answer.attribution, equal_nan=True):
        raise Seen("the same map for two seeds")
    return None


@law(
    "the global random state is untouched",
    "Draw from samples.key(i, draw), and set no seed: torch.manual_seed and np.random.seed are the user's.",
)
def global_state(case: MethodCase) -> None:
    """Torch's, NumPy's and Python's generators are as they were, also where the model draws from them."""

    def noisy(x: Tensor, **context: Tensor) -> Tensor:
        jitter = torch.rand(()).item() * np.random.rand() * random.random()  # noqa: NPY002 - what is tried
        found: Tensor = case.model(x, **context) + 0 * jitter
        return found

    before = _global_state()
    case.explain(case.around(noisy))
    for name, (was, now) in zip(("torch's", "NumPy's", "Python's"), zip(before, _global_state())):
        same_values(f"the state of {name} generator", now, was, 0)


def _global_state() -> tuple[np.ndarray, ...]:
    """The states of torch's, NumPy's and Python's generators."""
    own = np.random.get_state(legacy=False)["state"]  # noqa: NPY002 - looked at
    return torch.get_rng_state().numpy(), np.array([*own["key"], own["pos"]]), np.array(random.getstate()[1])
