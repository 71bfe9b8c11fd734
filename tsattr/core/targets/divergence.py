"""The shift of what a model predicts, as a target: how far its output has moved from that at the intact sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..axes import Axes
from ..bound import Value
from .outputs import SCALES, Target, index_of, log_probabilities, scale_of, taken_for_logits

KINDS = ("pd", "kl", "js", "signed", "difference")
_MOST = 1e6  # in the place of an infinite KL, as published

Shift = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Divergence(Target):
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
        "probability", or "value" (for "difference" alone, and its default). None: what the model says (a scikit-learn
        classifier gives probabilities), else logits. One logit or probability stands for two classes.
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
    of: str | None = None
    where: Any = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is one of {KINDS}, got {self.kind!r}")
        if self.of is not None and self.of not in SCALES:
            raise ValueError(f"of is one of {SCALES}, or None, got {self.of!r}")
        if self.kind == "difference":
            object.__setattr__(self, "of", "value")
        if self.of == "value" and self.kind != "difference":
            raise ValueError(
                f"{self.kind!r} compares probabilities; with of='value' give 'difference', else of='logits' or 'probability'"
            )
        if self.where is not None and self.kind not in ("signed", "difference"):
            raise ValueError(f"where picks the class of 'signed' or the output of 'difference', not of {self.kind!r}")

    def __repr__(self) -> str:
        more = [f", {k}={v!r}" for k, v in (("of", self.of), ("where", self.where)) if v is not None]
        return f"Divergence({self.kind!r}{''.join(more)})"

    @property
    def unsigned(self) -> bool:  # type: ignore[override]
        """True where it says how far the distribution moves, and not which way."""
        return self.kind in _SHIFTS

    def level(self, outputs: Axes) -> Value:
        """The probability of the class of "signed"; the output of "difference"."""
        at = self._where(outputs)
        if self.kind == "difference":
            return lambda y, y0: _flat(y)[:, at or 0]
        chosen, single = self.choose(outputs), not _wide(outputs)

        def probability(y: Tensor, y0: Tensor) -> Tensor:
            p = log_probabilities(_flat(y), str(chosen.of), chosen)
            return p.exp().gather(1, _class(_flat(y0), at, single)[:, None])[:, 0]

        return probability

    def choose(self, outputs: Axes) -> Divergence:
        """The same, with what the outputs are taken for."""
        if self.kind == "difference":
            return self
        of = scale_of(self, self.of, outputs)
        if of == "value":
            raise ValueError(
                f"{self!r} compares probabilities, but the model gives values: give Divergence('difference'), or one of "
                "its outputs: Divergence('difference', where=index or label)"
            )
        return replace(self, of=of)

    def bind(self, outputs: Axes) -> Value:
        """Minus the shift between rows of outputs (r, \\*out) and those of the intact samples."""
        wide = _wide(outputs)
        if len(wide) > 1:
            raise ValueError(
                f"{self!r} compares one distribution, but the outputs have axes {dict(zip(outputs.dims, outputs.shape))}; "
                "name the axis of time with outputs=(...), or pick one of the others in the model"
            )
        at = self._where(outputs)
        if self.kind == "difference":
            if wide and at is None:
                raise ValueError(f"{self!r}: the model gives {outputs.shape} numbers; say which: where=index or label")
            return lambda y, y0: _flat(y)[:, at or 0] - _flat(y0)[:, at or 0]
        shift = _SHIFTS[self.kind] if self.kind != "signed" else _signed(at, single=not wide)
        chosen = self.choose(outputs)

        def value(y: Tensor, y0: Tensor) -> Tensor:
            before, after = (log_probabilities(_flat(part), str(chosen.of), chosen) for part in (y0, y))
            return 0.0 - shift(before, after)

        return taken_for_logits(value, chosen) if chosen.of == "logits" else value

    def _where(self, outputs: Axes) -> int | None:
        wide = _wide(outputs)
        return None if self.where is None or not wide else index_of(outputs, wide[0], self.where)


def _wide(outputs: Axes) -> list[str]:
    """The axes along which there are several outputs."""
    return [d for d, n in zip(outputs.dims, outputs.shape) if n > 1]


def _flat(y: Tensor) -> Tensor:
    return y[:, None] if y.ndim == 1 else y.flatten(1)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    """KL of log-probabilities; a class without probability adds nothing, and what Q holds for impossible is `_MOST`."""
    return torch.where(p == -torch.inf, 0, p.exp() * (p - q)).sum(1).clamp(max=_MOST)


def _pd(p: Tensor, q: Tensor) -> Tensor:
    return (q.exp() - p.exp()).abs().sum(1)


def _js(p: Tensor, q: Tensor) -> Tensor:
    middle = torch.logaddexp(p, q) - torch.log(torch.tensor(2.0, dtype=p.dtype))
    return (_kl(p, middle) + _kl(q, middle)) / 2


def _signed(at: int | None, single: bool) -> Shift:
    return lambda p, q: (p.exp() - q.exp()).gather(1, _class(p, at, single)[:, None])[:, 0]


def _class(p: Tensor, at: int | None, single: bool) -> Tensor:
    """The class of each row: the one asked for, else that with the largest of `p`; one logit or probability is that of class 0 of two."""
    if at is None and not single:
        return p.argmax(1)
    return torch.full((len(p),), 0 if single else at or 0, device=p.device)


_SHIFTS: dict[str, Shift] = {"pd": _pd, "kl": _kl, "js": _js}
