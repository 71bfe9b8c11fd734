"""The shift of what a model predicts, as a target: how far its output has moved from that at the intact sample."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .axes import Axes
from .outputs import Value, index_of

KINDS = ("pd", "kl", "js", "signed", "difference")
SCALES = ("logits", "probability", "value")
_SUM = 1e-4  # how far from 1 probabilities may add up, in float16 models too
_FEW = 200  # outputs that may all lie between 0 and 1 by chance
_MOST = 1e6  # in the place of an infinite KL, as published

Shift = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Divergence:
    """How far the predictive distribution moves from P, that at the intact sample, to Q, that at the perturbed one.

    ====================  =======================================================================================
    ``"pd"``              ``sum_c |Q_c - P_c|``, twice the total variation; of two classes ``2 |p - p'|``; at most 2
    ``"kl"``              ``sum_c P_c (log P_c - log Q_c)``, in nats; at most 1e6
    ``"js"``              ``KL(P || M) / 2 + KL(Q || M) / 2`` with ``M = (P + Q) / 2``; at most log 2
    ``"signed"``          ``P_c - Q_c`` of one class: the sign says which way the removal moved it
    ``"difference"``      ``y - y'`` of one output, in its units: for regression
    ====================  =======================================================================================

    The target's value is minus the shift: 0 at the intact sample, and lower the further the output moves. So every method
    that takes a loss of the target for importance takes the shift.

    Parameters
    ----------
    kind
        As above.
    of
        What the model gives: "logits" (computed from log-probabilities, so that a saturated class gives no NaN),
        "probability", or "value" (for "difference" alone, and its default). One logit or probability stands for two classes.
    where
        The class of "signed" (by default the predicted class of the intact sample; of one logit or probability, that
        class) or the output of "difference", by index or label.

    Raises
    ------
    ValueError
        Outputs that cannot be what `of` says; several output axes; several outputs of "difference" without `where`.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> f = lambda x: torch.log(torch.stack([x[:, 0], 1 - x[:, 0]], 1))  # probabilities x and 1 - x
    >>> x = torch.tensor([[0.9]], dtype=torch.float64)
    >>> half = ta.Occlusion(ta.groups.Cells(), ta.baselines.Constant(0.5))
    >>> for kind in ("pd", "signed"):
    ...     ds = ta.explain(f, x, half, target=ta.targets.Divergence(kind))
    ...     ds.attribution.values.round(6).item()
    0.8
    0.4

    References
    ----------
    Leung et al., "Temporal dependencies in feature importance for time series prediction", ICLR 2023.
    """

    kind: str = "pd"
    of: str = "logits"
    where: Any = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is one of {KINDS}, got {self.kind!r}")
        if self.of not in SCALES:
            raise ValueError(f"of is one of {SCALES}, got {self.of!r}")
        if self.kind == "difference":
            object.__setattr__(self, "of", "value")
        if self.of == "value" and self.kind != "difference":
            raise ValueError(
                f"{self.kind!r} compares probabilities; with of='value' give 'difference', else of='logits' or 'probability'"
            )
        if self.where is not None and self.kind not in ("signed", "difference"):
            raise ValueError(f"where picks the class of 'signed' or the output of 'difference', not of {self.kind!r}")

    def __repr__(self) -> str:
        return f"Divergence({self.kind!r}, of={self.of!r}{'' if self.where is None else f', where={self.where!r}'})"

    def bind(self, outputs: Axes) -> Value:
        """Minus the shift between rows of outputs (r, \\*out) and those of the intact samples."""
        wide = [d for d, n in zip(outputs.dims, outputs.shape) if n > 1]
        if len(wide) > 1:
            raise ValueError(
                f"{self!r} compares one distribution, but the outputs have axes {dict(zip(outputs.dims, outputs.shape))}; "
                "name the axis of time with outputs=(...), or pick one of the others in the model"
            )
        at = None if self.where is None or not wide else index_of(outputs, wide[0], self.where)
        if self.kind == "difference":
            if wide and at is None:
                raise ValueError(f"{self!r}: the model gives {outputs.shape} numbers; say which: where=index or label")
            return lambda y, y0: _flat(y)[:, at or 0] - _flat(y0)[:, at or 0]
        shift = _SHIFTS[self.kind] if self.kind != "signed" else _signed(at, single=not wide)

        def value(y: Tensor, y0: Tensor) -> Tensor:
            if y is y0:  # the intact samples
                self._check_logits(y)
            return 0.0 - shift(self._logs(_flat(y0)), self._logs(_flat(y)))

        return value

    def _check_logits(self, y: Tensor) -> None:
        if self.of == "logits" and _flat(y).shape[1] == 1 and len(y) >= _FEW and ((y >= 0) & (y <= 1)).all():
            warnings.warn(
                f"{self!r} takes the model's one output for a logit, and all of {len(y)} lie between 0 and 1; for a "
                "probability give of='probability'",
                stacklevel=2,
            )

    def _logs(self, y: Tensor) -> Tensor:
        """Log-probabilities (r, classes) in float64."""
        y = y.to(torch.float64)
        if self.of == "logits":
            if y.shape[1] == 1:
                return torch.nn.functional.logsigmoid(torch.cat([y, -y], 1))
            if len(y) and _probabilities(y):
                raise ValueError(
                    f"{self!r}: every row of the model's outputs lies in [0, 1] and sums to 1, which logits do not; give "
                    "of='probability'"
                )
            return y.log_softmax(1)
        finite = y[torch.isfinite(y).all(1)]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        if low < -_SUM or high > 1 + _SUM:
            raise ValueError(f"{self!r}: the model's outputs run from {low:.4g} to {high:.4g}; are they logits?")
        if y.shape[1] == 1:
            y = torch.cat([y, 1 - y], 1)
        elif not _probabilities(finite):
            raise ValueError(f"{self!r}: the model's outputs do not sum to 1; are they logits?")
        return y.clamp(min=0).log()


def _flat(y: Tensor) -> Tensor:
    return y[:, None] if y.ndim == 1 else y.flatten(1)


def _probabilities(y: Tensor) -> bool:
    return bool(((y >= -_SUM) & (y <= 1 + _SUM)).all() and ((y.sum(1) - 1).abs() <= _SUM).all())


def _kl(p: Tensor, q: Tensor) -> Tensor:
    """KL of log-probabilities; a class without probability adds nothing, and what Q holds for impossible is `_MOST`."""
    return torch.where(p == -torch.inf, 0, p.exp() * (p - q)).sum(1).clamp(max=_MOST)


def _pd(p: Tensor, q: Tensor) -> Tensor:
    return (q.exp() - p.exp()).abs().sum(1)


def _js(p: Tensor, q: Tensor) -> Tensor:
    middle = torch.logaddexp(p, q) - torch.log(torch.tensor(2.0, dtype=p.dtype))
    return (_kl(p, middle) + _kl(q, middle)) / 2


def _signed(at: int | None, single: bool) -> Shift:
    def shift(p: Tensor, q: Tensor) -> Tensor:
        # One logit or probability is that of class 0 of the two it stands for.
        which = torch.full((len(p),), 0 if single else at or 0, device=p.device)
        which = p.argmax(1) if at is None and not single else which
        return (p.exp() - q.exp()).gather(1, which[:, None])[:, 0]

    return shift


_SHIFTS: dict[str, Shift] = {"pd": _pd, "kl": _kl, "js": _js}
