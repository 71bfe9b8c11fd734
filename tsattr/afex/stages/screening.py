"""Screening: where features are many for the rows, only those have terms that forward selection takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..basis import PRODUCT_RANK
from ..screen import FOLDS, selected_blocks
from ..working import WorkingModel

ROWS_PER_FEATURE = 5
"""Rows a feature below which only those features have terms that forward selection takes, or that act in a pair."""


def screen_features(model: WorkingModel) -> None:
    """Take out the features of which neither linear columns and levels nor the leading spline columns predict."""
    if len(model.y) < 2 * FOLDS or model.w.sum() >= ROWS_PER_FEATURE * model.varied.sum():
        return
    blocks, feature_of = [], []
    for j in np.flatnonzero(model.varied).tolist():
        columns, kinds = model.main_columns(j), model.features[j].kinds
        spline = kinds == "spline"
        parts = (columns[:, ~spline & (kinds != "ramp")], columns[:, spline][:, :PRODUCT_RANK])
        blocks += [part for part in parts if part.shape[1]]
        feature_of += [j for part in parts if part.shape[1]]
    residual, _ = model.family.derivatives(model.constant_scores(), model.y)
    selected = {feature_of[i] for i in selected_blocks(blocks, residual, model.w)}
    for j in set(range(len(model.features))) - selected:
        model.screened_out[j] = model.features[j]
        model.set_feature(j, replace(model.features[j], used=False))
    model.choose_pooled()
