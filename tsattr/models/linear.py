"""Fitted linear estimators as torch modules, which have gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn


class LinearModule(nn.Module):
    """A fitted linear estimator as a module: its predictions, or its classes' probabilities."""

    weight: Tensor
    bias: Tensor

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.register_buffer("weight", torch.as_tensor(np.asarray(model.coef_, np.float64)))
        self.register_buffer("bias", torch.as_tensor(np.asarray(model.intercept_, np.float64)))
        self.classifies = hasattr(model, "predict_proba")

    @classmethod
    def of(cls, model: Any, rows: np.ndarray) -> LinearModule | None:
        """The module of an estimator; None where their outputs on `rows` differ, or it has no coefficients."""
        predict = getattr(model, "predict", None) if not hasattr(model, "classes_") else None
        predict = getattr(model, "predict_proba", predict)
        if predict is None or not hasattr(model, "coef_") or not hasattr(model, "intercept_"):
            return None
        linear = cls(model)
        names = getattr(model, "feature_names_in_", None)
        expected = np.asarray(predict(rows if names is None else pd.DataFrame(rows, columns=names)))
        found = linear(torch.from_numpy(rows)).numpy()
        return linear if found.shape == expected.shape and np.allclose(found, expected, rtol=1e-6, atol=1e-9) else None

    def forward(self, x: Tensor) -> Tensor:
        """Predictions (rows,) or (rows, outputs), or probabilities (rows, classes)."""
        scores = x @ self.weight.mT + self.bias if self.weight.ndim > 1 else x @ self.weight + self.bias
        if not self.classifies:
            return scores
        if scores.shape[-1] == 1:
            scores = torch.cat([torch.zeros_like(scores), scores], -1)
        return scores.softmax(-1)
