"""A fitted pipeline that is explained by its last step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LastStep:
    """A fitted transformer and the model of its output; see :func:`last_step`."""

    transformer: Any
    model: Any

    def __repr__(self) -> str:
        return f"last_step({type(self.model).__name__} after {type(self.transformer).__name__})"


def last_step(pipeline: Any, model: Any = None) -> LastStep:
    """Explain a pipeline by its last step, in the columns the pipeline is given: ``explain(last_step(pipe), frame, method)``.

    The table is transformed once; the method asks the last step alone; the attributions of all columns made of one raw
    column are summed into it. Groups and baselines are stated in raw columns, as for the pipeline itself: a baseline's raw
    values go through the transformers too, and a raw column goes absent with all that is made of it. So `Occlusion`,
    `ShapleySampling` and `KernelShap` give what they give for the whole pipeline; `IntegratedGradients`, which it has no
    gradients for, walks a straight line in the transformed columns, where the last step is linear or a torch module.

    It holds only where each transformed column is made of one raw column. That is read from the fitted transformers
    (never from names), and tried on rows that are partly absent. The transformed table is held in memory.

    Parameters
    ----------
    pipeline
        A fitted scikit-learn Pipeline; or, with `model`, any fitted transformer, such as ``pipeline[:-1]``.
    model
        What takes the transformer's columns, where that is not the pipeline's last step: a torch module or anything else
        that `explain` takes. A module gets them in the dtype of its parameters.

    Raises
    ------
    TypeError
        Not a Pipeline of at least two steps. When explaining: a step that mixes columns (PCA, PolynomialFeatures, ...),
        which is named; a method without a baseline; a baseline whose values depend on what is still present.

    Examples
    --------
    >>> import pandas as pd, tsattr as ta
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> x = pd.DataFrame({"ward": ["icu", "icu", "home"]})
    >>> pipe = make_pipeline(OneHotEncoder(), LinearRegression()).fit(x, [3.0, 3.0, 1.0])
    >>> method = ta.IntegratedGradients(ta.baselines.Constant({"ward": "home"}))
    >>> ta.explain(ta.models.last_step(pipe), x, method).attribution.values.round(9).tolist()
    [[2.0], [2.0], [0.0]]
    """
    if model is not None:
        if not hasattr(pipeline, "transform"):
            raise TypeError(f"last_step(transformer, model) takes a fitted transformer, got {type(pipeline).__name__}")
        return LastStep(pipeline, model)
    pipeline = getattr(pipeline, "best_estimator_", pipeline)
    if not hasattr(pipeline, "steps") or len(pipeline.steps) < 2:
        raise TypeError(
            f"last_step takes a fitted Pipeline of at least two steps, got {type(pipeline).__name__}; explain it as it is, "
            "or give last_step(transformer, model)"
        )
    return LastStep(pipeline[:-1], pipeline[-1])
