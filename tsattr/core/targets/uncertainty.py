"""How unsure a model is, as a target: entropies and variances of a prediction, and of the members of an ensemble together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..axes import Axes
from ..bound import Value
from .entries import example_of
from .outputs import (
    MEMBER,
    SCALES,
    Target,
    log_probabilities,
    scale_of,
    taken_for_logits,
    without_axis,
)
from .parsing import resolve

VARIANCES = ("variance", "expected_variance", "variance_of_means")

EachMember = Callable[[Tensor, Tensor], Tensor]  # outputs (rows, members, *out), those intact -> (rows, members, ...)


@dataclass(frozen=True)
class Uncertainty(Target):
    """How unsure a model is of its prediction, in all, for what the data leave open, and for what the model does not know.

    Of an ensemble (`tsattr.models.Ensemble`, the passes of `tsattr.models.dropout`, or any model with an output axis
    "member") with M members, p_m the predicted probabilities of member m, and p their mean:

    =========================  =============================================  ===================================
    ``"entropy"``              ``H(p) = -sum_c p_c log p_c``, in nats         all: the sum of the next two
    ``"expected_entropy"``     ``sum_m H(p_m) / M``                           of the data: each member is unsure
    ``"mutual_information"``   ``sum_m KL(p_m || p) / M``                     of the model: the members disagree
    ``"variance"``             the sum of the next two                        all
    ``"expected_variance"``    ``sum_m s_m^2 / M``                            of the data, as variance heads say
    ``"variance_of_means"``    ``sum_m (v_m - v)^2 / M``, v the mean of v_m   of the model
    =========================  =============================================  ===================================

    Members are asked together, so that every method explains what they say together. One model alone has an entropy, and
    the variance that a head of it predicts; the parts that are of the model need members.

    Parameters
    ----------
    kind
        As above.
    target
        Any target, of one member's outputs. Of a variance: the value v_m, such as a class's probability, an output or the mean of a region; by
        default the only output. Of an entropy: a probability, whose event happens or does not; by default the outputs
        are a distribution over classes.
    noise
        Of a variance: any target whose value is the variance s_m^2 that a member predicts, such as ``"variance"``, the
        label of that output, or ``lambda y: y[:, 1].exp()`` where it gives its logarithm. None: no member predicts any,
        and "variance" is that of the means.
    of
        Of an entropy: what the model gives, "logits" or "probability". None: what the model says (a scikit-learn
        classifier gives probabilities), else logits. One logit or probability stands for two classes.

    Raises
    ------
    ValueError
        A part that needs members, of one model; outputs that cannot be what `of` says; several output axes without a
        `target`; a `target` that looks at the intact sample, as of the predicted class, which is not that of all members;
        a negative variance.

    Notes
    -----
    Classes of probability 0 add nothing, and nothing to gradients. Where members agree, what is of the model is 0.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> both = ta.models.Ensemble([lambda x: x[:, 0] + x[:, 1], lambda x: x[:, 0] - x[:, 1]])
    >>> ds = ta.explain(both, torch.tensor([[5.0, 3.0]]), ta.InputXGradient(), target=ta.targets.Uncertainty("variance"))
    >>> ds.prediction.item(), ds.attribution.values.tolist()
    (9.0, [[0.0, 18.0]])

    References
    ----------
    Depeweg et al., "Decomposition of uncertainty in Bayesian deep learning", ICML 2018. Patro et al., "U-CAM", ICCV 2019:
    the map of a certainty.
    """

    compares = False
    of_members = True

    kind: str = "entropy"
    target: Any = None
    noise: Any = None
    of: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in (*_ENTROPIES, *VARIANCES):
            raise ValueError(f"kind is one of {(*_ENTROPIES, *VARIANCES)}, got {self.kind!r}")
        if self.of is not None and (self.kind in VARIANCES or self.of not in SCALES[:2]):
            raise ValueError(f"of is 'logits' or 'probability', what an entropy is made of, or None, got {self.of!r}")
        if self.noise is not None and self.kind not in VARIANCES:
            raise ValueError(f"noise is the variance that a model predicts; {self.kind!r} has none")
        if self.noise is None and self.kind == "expected_variance":
            raise ValueError("'expected_variance' is the mean of predicted variances: say where they are, noise=...")

    def __repr__(self) -> str:
        more = [("target", self.target), ("noise", self.noise), ("of", self.of)]
        return f"Uncertainty({self.kind!r}{''.join(f', {k}={v!r}' for k, v in more if v is not None)})"

    def bind(self, outputs: Axes) -> Value:
        """The uncertainty of rows of outputs (r, \\*out), one axis of which may be of the members."""
        axis = outputs.dims.index(MEMBER) if MEMBER in outputs.dims else None
        members = 1 if axis is None else outputs.shape[axis]
        self._check(members)
        make = self._variance if self.kind in VARIANCES else self._entropy
        value = make(without_axis(outputs, MEMBER), members)

        def by_member(y: Tensor) -> Tensor:
            return y[:, None] if axis is None else y.movedim(1 + axis, 1)

        return lambda y, y0: value(*_both(by_member, y, y0))

    def _check(self, members: int) -> None:
        """ValueError for one model where this is between members."""
        alone = self.kind == "entropy" or (self.noise is not None and self.kind != "variance_of_means")
        if members < 2 and not alone:
            has = "the entropy of its prediction, Uncertainty('entropy')"
            if self.kind in VARIANCES:
                has = "a variance where a head of it predicts one, which noise= names"
            raise ValueError(
                f"{self!r} is between the members of an ensemble, and there is one model: give ta.models.Ensemble([...]), "
                f"ta.models.dropout(module), or a model with an output axis {MEMBER!r}. One model has {has}"
            )

    # ---- entropies

    def _entropy(self, inner: Axes, members: int) -> Value:
        measure = _ENTROPIES[self.kind]
        if self.target is not None:
            event = self._of_each(self.target, inner)
            return lambda y, y0: measure(log_probabilities(event(y, y0)[..., None], "probability", self))
        if len(wide := [n for n in inner.shape if n > 1]) > 1:
            raise ValueError(
                f"{self!r} is of one distribution, but the outputs have axes {dict(zip(inner.dims, inner.shape))}: pick one in the "
                "model, or give a probability as target=ta.targets.Probability(...); where one is of members, call it "
                f"{MEMBER!r} in outputs="
            )
        of = scale_of(self, self.of, inner)
        if of == "value":
            raise ValueError(
                f"{self!r} is of probabilities, and the model gives values; Uncertainty('variance') is of values"
            )
        classes = wide[0] if wide else 1

        def value(y: Tensor, y0: Tensor) -> Tensor:
            return measure(log_probabilities(y, of, self))

        looked = taken_for_logits(value, self) if of == "logits" else value
        return lambda y, y0: looked(*_both(lambda part: part.reshape(len(part), members, classes), y, y0))

    # ---- variances

    def _variance(self, inner: Axes, members: int) -> Value:
        parts: list[Value] = []
        if self.noise is not None and self.kind != "variance_of_means":
            noise = self._of_each(self.noise, inner)
            parts.append(_positive(lambda y, y0: noise(y, y0).mean(1), self))
        if members > 1 and self.kind != "expected_variance":
            mean = self._of_each(self.target, inner)
            parts.append(lambda y, y0: _spread(mean(y, y0)))
        return lambda y, y0: torch.stack([part(y, y0) for part in parts]).sum(0)

    def _of_each(self, target: Any, inner: Axes) -> EachMember:
        """The value of a target of each member's outputs: (rows, members, \\*out) to (rows, members)."""
        chosen = resolve(target).choose(inner)
        if chosen.compares:
            raise ValueError(
                f"{self!r} needs one number of the outputs that is the same for every member, and {chosen!r} asks what is predicted of "
                f"the intact sample: name it, such as target={example_of(inner)}, or ta.targets.Probability(...) of a class"
            )
        value = chosen.bind(inner)

        def of_each(y: Tensor, y0: Tensor) -> Tensor:
            return value(*_both(lambda part: part.flatten(0, 1), y, y0)).reshape(y.shape[:2])

        return of_each


def _both(shaped: Callable[[Tensor], Tensor], y: Tensor, y0: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and those intact in another shape, one tensor where they are one."""
    first = shaped(y)
    return first, first if y is y0 else shaped(y0)


def _positive(value: Value, target: Target) -> Value:
    """`value`, a variance, which is looked at where the samples are intact: that is at first."""
    seen = False

    def looked(y: Tensor, y0: Tensor) -> Tensor:
        nonlocal seen
        v = value(y, y0)
        if not seen and bool((v < 0).any()):
            raise ValueError(
                f"{target!r}: a predicted variance is {v.min().item():.4g}, and none is negative; of its logarithm give "
                "noise=lambda y: y[:, k].exp(), k being its place among the outputs"
            )
        seen = True
        return v

    return looked


def _spread(v: Tensor) -> Tensor:
    """The variance over the members (rows, members), 0 where they are equal."""
    away = v - v[:, :1]
    return (away - away.mean(1, keepdim=True)).square().mean(1)


def _product(logs: Tensor, factor: Tensor) -> Tensor:
    """``sum_c p_c factor_c`` over classes of log-probabilities; a class without probability adds nothing."""
    return (logs.exp() * torch.where(logs == -torch.inf, 0, factor)).sum(-1)


def _mean_of(logs: Tensor) -> Tensor:
    """Log of the mean probability over members, (rows, members, classes) to (rows, 1, classes)."""
    top = logs.detach().amax(1, keepdim=True)
    top = torch.where(top == -torch.inf, 0, top)
    mean = (logs - top).exp().mean(1, keepdim=True)
    none = mean == 0
    return torch.where(none, -torch.inf, torch.where(none, 1, mean).log() + top)


def _of_the_mean(logs: Tensor) -> Tensor:
    """``H(p)`` of the mean p over the members."""
    mean = _mean_of(logs)
    return -_product(mean, mean)[:, 0]


def _mean_over_members(logs: Tensor) -> Tensor:
    """The mean over the members of ``H(p_m)``."""
    return -_product(logs, logs).mean(1)


def _between_members(logs: Tensor) -> Tensor:
    """The mean over the members of ``KL(p_m || p)``, which is ``H(p)`` less the mean of ``H(p_m)``."""
    agree = (logs == logs[:, :1]).flatten(1).all(1)[:, None, None]
    logs = torch.where(agree, logs.detach(), logs)  # of its least, 0, rounding would be all of the slope
    return _product(logs, logs - _mean_of(logs)).mean(1).clamp(min=0)  # rounding may be larger, and negative


_ENTROPIES = {
    "entropy": _of_the_mean,
    "expected_entropy": _mean_over_members,
    "mutual_information": _between_members,
}
