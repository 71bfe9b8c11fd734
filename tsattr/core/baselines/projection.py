"""The projection on the boundary between two classes in the features of an invertible network, as a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ..arrays import Array
from ..invertible import Invertible
from ..preserve import device_of, preserved_state
from ..results import check_positive
from .fills import Baseline
from .fitted import Training
from .neutral import Neutral, dtype_of, margins, other_classes, spread_of


@dataclass(frozen=True)
class Projection(Neutral, Baseline):
    """The class-neutral input whose *features* are nearest: the pre-image of the projection on a plane.

    For a model ``f(x) = W T(x) + bias`` with an invertible T (`tsattr.models.Coupling`) the boundary between two classes is
    a plane in the features, and no search is needed (Zhuang et al., explain_invertible, 2019):

    ``y = T(x), w = w_a - w_b, c = bias_a - bias_b, y_p = y - (w.y + c) / |w|^2 w, x_p = T^-1(y_p)``

    It is nearest in the features and not in the input: `feature_distance` is ``|w.y + c| / |w|``, and `distance`
    ``|x - x_p|``, which `Boundary` of the same model makes smaller. With ``T(x) = x`` both are one. A network that was trained
    for its classes alone may have it very far off; `Coupling` says how to train one that has not.

    Three explanations come of it. ``x - x_p`` itself is `difference`, in the units of `x`. With the target
    ``Margin(a, b)``, ``IntegratedGradients(projection)`` sums to the whole margin, as it is 0 at the projection; and
    ``IntegratedGradients(projection, steps=1, rule="left")`` is the local linear form ``grad f(x_p) (x - x_p)``, whose
    ``completeness_gap`` says what a linear model leaves out.

    Parameters
    ----------
    value
        The neutral inputs x_p, samples first; made by :meth:`fit`.
    margin
        What is left of |f_a - f_b| at each: rounding.
    difference
        The samples less their neutral inputs, ``x - x_p``.
    feature_distance
        How far each sample's features are from the plane, (samples,).
    source
        How it was fitted, in words.

    Examples
    --------
    >>> import numpy as np
    >>> class Plain(Invertible):
    ...     features = inverse = staticmethod(lambda x: x)
    >>> model = Plain()
    >>> model.head = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
    >>> _ = model.head.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> neutral = Projection.fit(model, np.array([[1.0, 1.0]]), a=0)
    >>> neutral.value.values.round(9).tolist(), neutral.feature_distance.values.round(9).tolist()
    ([[0.16, -0.12]], [1.4])
    """

    sentence: ClassVar[str] = (
        "the input whose features, in an invertible network, are the nearest at which it finds two classes equal"
    )
    note: ClassVar[str] = (
        "The baseline is a contrast, the nearest point without a decision in the network's features. It is not the nearest "
        "input: the input distance beside the feature distance says how far it lies, and what is the same at both gets nothing."
    )
    on_command_line: ClassVar[bool] = False  # made of a model, and its classes
    value: Array
    margin: Array
    difference: Array
    feature_distance: Array
    source: str

    def __repr__(self) -> str:
        left = self.margin.values.max()
        inside, outside = spread_of(self.feature_distance), spread_of(self.distance)
        return f"Projection({self.value!r}, {self.source}, margin<={left:.2g}, feature distance {inside}, input distance {outside})"

    @classmethod
    def fit(
        cls,
        model: Invertible,
        x: Any,
        a: int,
        b: int | None = None,
        tolerance: float | None = None,
        *,
        sample_dim: str = "sample",
        batch_size: int = 256,
    ) -> Projection:
        """Project each sample.

        Parameters
        ----------
        model
            A `tsattr.models.Invertible`, such as `tsattr.models.Coupling`, of rows (samples, \\*event) in `x`'s order of dims.
            It is left as it was.
        x
            The samples that will be explained, as they will be given, without missing cells: a DataArray, or an array
            (samples first). Cells that explain leaves out by ``valid=`` stay as they are: the way would not begin on the
            boundary, and `reference` would not be 0.
        a, b
            The two classes. ``b=None``: the strongest other class at each sample; with a single output, the value 0.
        tolerance
            How far ``T^-1(T(x))`` may be from x, as a share of the largest of the sample's values and features, and
            ``f_a - f_b`` at x_p from 0, as a share of the sizes of what the sample's own margin adds up. None: the root of the dtype's epsilon, 1.5e-8 in float64 and 3.5e-4
            in float32.
        sample_dim
            Name of the sample dim.
        batch_size
            Rows the model is given at once.

        Raises
        ------
        TypeError
            A model that does not say that it is invertible, a dtype of `x` that none of its parameters has, or classes that are no whole
            numbers.
        ValueError, IndexError
            Classes that the model does not have or that are the same, or between which its head has no boundary; missing
            cells; a model that is not what it says: an inverse that does not give the sample back, or classes that
            differ at the pre-image.
        """
        if not (isinstance(model, Invertible) and isinstance(getattr(model, "head", None), nn.Linear)):
            raise TypeError(
                f"Projection.fit needs a model that says it is invertible with an nn.Linear as its head: models.Coupling, or one "
                f"derived from models.Invertible; got {type(model).__name__}. Boundary.fit takes any model with gradients"
            )
        train = Training.of(x, sample_dim)
        start = torch.as_tensor(train.values)
        if gaps := int(start.isnan().sum()):
            raise ValueError(
                f"x has {gaps} missing cells, and a projection moves all cells of a sample at once; fill them as the model does, "
                "or use Boundary.fit, which leaves them where they are"
            )
        dtype = dtype_of(x, model)
        if tolerance is None:
            tolerance = torch.finfo(dtype).eps ** 0.5
        check_positive("tolerance must be", tolerance)
        home = device_of(model) or torch.device("cpu")
        with preserved_state(model, None), torch.no_grad():
            parts = [_project(model, rows.to(home, dtype), a, b) for rows in torch.split(start, batch_size)]
        found = _Found(*(torch.cat(part).cpu().double() for part in zip(*parts)))
        found.check(tolerance)
        return cls(
            train.of_samples(found.point.numpy()),
            train.of_samples(found.margin.numpy()),
            train.of_samples((start - found.point).numpy()),
            train.of_samples(found.feature_distance.numpy()),
            f"a={a}, b={b}",
        )


class _Found(NamedTuple):
    """What a projection found, float64: of each sample the pre-image and numbers (n,)."""

    point: Tensor
    margin: Tensor  # |f_a - f_b| at the pre-image, of the model itself
    terms: Tensor  # the sizes of what the sample's own margin adds up
    feature_distance: Tensor
    trip: Tensor  # how far the sample's largest error is from nothing after the way to the features and back
    size: Tensor  # the largest of its values and features

    def check(self, tolerance: float) -> None:
        """ValueError where the model is not what it says."""
        if (bad := ~(self.trip <= tolerance * self.size)).any():
            raise ValueError(
                f"T^-1(T(x)) misses x by up to {float(self.trip[bad].max()):.3g} in {int(bad.sum())} of {len(bad)} samples, whose "
                f"values and features are up to {float(self.size[bad].max()):.3g}, where tolerance={tolerance:.2g} allows that share of them: "
                "inverse must undo features; in float64 it does so with fewer roundings"
            )
        if (bad := ~(self.margin <= tolerance * self.terms)).any():
            raise ValueError(
                f"f_a - f_b at the pre-image is up to {float(self.margin[bad].max()):.3g} in {int(bad.sum())} of {len(bad)} "
                f"samples, and 0 on the boundary; tolerance={tolerance:.2g} allows that share of the "
                f"{float(self.terms[bad].max()):.3g} that it adds up: the model's forward must be its head of its features, "
                "and features must undo inverse"
            )


def _project(model: Invertible, x: Tensor, a: int, b: int | None) -> _Found:
    """The formulas of `Projection` for rows `x`, and what is needed to try them."""
    y = _of_head(model, model.features(x))
    trip = (_like(model.inverse(y), x) - x).abs().flatten(1).amax(1)
    logits = model(x)
    other = other_classes(logits, a, b)
    w, c = model.plane(torch.full_like(other, a), None if logits.shape[1] == 1 else other)
    length = w.norm(dim=1)
    if not (length > 0).all():
        raise ValueError(
            f"the head has the same weights for class {a} and class {int(other[length.argmin()])}: no boundary lies between them"
        )
    point = model.project(x, torch.full_like(other, a), None if logits.shape[1] == 1 else other)
    level = (w * y).sum(1) + c
    return _Found(
        point,
        margins(model(point), a, other).abs(),
        (w * y).abs().sum(1) + c.abs(),
        level.abs() / length,
        trip,
        torch.maximum(x.abs().flatten(1).amax(1), y.abs().amax(1)),
    )


def _of_head(model: Invertible, y: Tensor) -> Tensor:
    if y.ndim != 2 or y.shape[1] != model.head.in_features:
        raise ValueError(
            f"features gave {tuple(y.shape)}, and the head reads (rows, {model.head.in_features}); flatten(1) them, or give it a "
            "head of their size"
        )
    return y


def _like(rows: Tensor, x: Tensor) -> Tensor:
    if rows.shape != x.shape:
        raise ValueError(
            f"inverse gave rows of shape {tuple(rows.shape)} for features of rows of shape {tuple(x.shape)}"
        )
    return rows
