"""Which function of a fitted scikit-learn estimator is explained: probabilities, predictions, or a decision function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class PredictFunction:
    """The function of an estimator that is explained, and what is known of its outputs.

    Attributes
    ----------
    f, name
        The function, from a table or an array to an array with the rows first, and its name in results.
    scale
        What its outputs are: "probability" or "value"; see `tsattr.core.axes.Axes`.
    labels
        Those of the one output axis, where there is one.
    outputs
        Names and labels of several output axes.
    """

    f: Callable[[Any], Any]
    name: str
    scale: str
    labels: np.ndarray | None = None
    outputs: dict[str, Any] | None = None


def is_estimator(model: Any) -> bool:
    """True for what has ``predict_proba`` or ``predict``, as scikit-learn's estimators do."""
    return hasattr(model, "predict_proba") or hasattr(model, "predict")


def predict_function(model: Any, wrapper: str = "on_arrays") -> PredictFunction:
    """``predict_proba`` of what has it, ``decision_function`` of outlier detectors, else ``predict``.

    Probabilities of several labels have the axes ``label`` and ``class``. `wrapper` is the function of `tsattr.models` that
    error messages advise for such input: "on_arrays" or "on_frames".

    Raises
    ------
    TypeError
        Where all that a model is_estimator is the name of a class or the number of a cluster; it says what to explain instead.
    """
    name, kind = type(model).__name__, _kind(model)
    classes = getattr(model, "classes_", None)
    if hasattr(model, "predict_proba"):
        if isinstance(classes, list) or _is_multilabel(_last(model)):
            return PredictFunction(lambda x: _by_label(model, x), name, "probability", outputs=_label_axes(classes))
        return PredictFunction(
            model.predict_proba, name, "probability", None if classes is None else np.asarray(classes)
        )
    if classes is not None or kind == "classifier":
        margin = f"explain its margin: ta.models.{wrapper}(model.decision_function), or "
        margin = margin if hasattr(model, "decision_function") else ""
        raise TypeError(f"{name} is a classifier without predict_proba; {margin}calibrate it (CalibratedClassifierCV)")
    if kind == "clusterer":
        near = f"ta.models.{wrapper}(model.transform) for the distance to each centre, "
        near = near if hasattr(model, "transform") else ""
        raise TypeError(
            f"{name} is_estimator the number of a cluster, and clusters have no order: explain {near}"
            f"ta.models.{wrapper}(lambda x: model.predict(x) == k) for membership of cluster k"
        )
    if kind == "outlier_detector":
        if not hasattr(model, "decision_function"):
            raise TypeError(
                f"{name} is_estimator 1 or -1 alone; explain a score of it: ta.models.{wrapper}(model.score_samples)"
            )
        return PredictFunction(model.decision_function, f"{name}.decision_function", "value")
    return PredictFunction(model.predict, name, "value")


def _kind(model: Any) -> str | None:
    """The estimator type by its tags: "classifier", "regressor", "clusterer", "outlier_detector", ...; None if it has none."""
    try:
        return str(model.__sklearn_tags__().estimator_type)
    except AttributeError:  # not scikit-learn's own, or made before version 1.6
        return getattr(model, "_estimator_type", None)


def _last(model: Any) -> Any:
    """The final estimator of a pipeline or a hyperparameter search; of several inside each other, the innermost."""
    while (
        inner := getattr(model, "best_estimator_", None) or getattr(model, "steps", [("", None)])[-1][1]
    ) is not None:
        model = inner
    return model


def _is_multilabel(model: Any) -> bool:
    """True if the columns of its probabilities are separate labels (multilabel), and do not add up to 1."""
    several = getattr(model, "n_outputs_", 1) if getattr(model, "out_activation_", "") == "logistic" else 1  # of an MLP
    return bool(getattr(model, "multilabel_", False)) or several > 1


def _label_axes(classes: Any) -> dict[str, Any]:
    """Names and labels of the axes ``label`` and ``class``; None for the classes where they differ between labels."""
    each = [np.asarray(c).tolist() for c in classes] if isinstance(classes, list) else [[0, 1]]
    return {"label": None, "class": each[0] if all(c == each[0] for c in each) else None}


def _by_label(model: Any, x: Any) -> np.ndarray:
    """Probabilities (rows, labels, classes) of a multilabel or multioutput model, whichever form scikit-learn gives them in."""
    p = model.predict_proba(x)
    if not isinstance(p, list):  # (rows, labels): the probability that a label is present
        return np.stack([1 - np.asarray(p), np.asarray(p)], -1)
    if len(sizes := {np.shape(one) for one in p}) > 1:
        numbers = [np.shape(one)[1] for one in p]
        raise TypeError(
            f"{type(model).__name__}.predict_proba gives a list of arrays, one for each of {len(p)} labels, with {numbers} classes "
            f"(shapes {sorted(sizes)}): explain one label, lambda x: model.predict_proba(x)[0], in ta.models.on_frames or on_arrays"
        )
    return np.stack(p, 1)
