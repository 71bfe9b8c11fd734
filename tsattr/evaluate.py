"""`evaluate`: how well an explanation says what the model does when cells are taken away, sample by sample."""

from __future__ import annotations

from typing import Any, Unpack

import xarray as xr

from .comparison.scoring import Measurement
from .comparison.settings import EVALUATION_DEFAULTS, EvaluationSettings
from .edge.call import Call
from .edge.each_output import EachOutput
from .edge.settings import DEFAULTS, filled, shown
from .edge.warning import tell
from .labels import alignment


@shown(EvaluationSettings, EVALUATION_DEFAULTS)
def evaluate(model: Any, x: Any, ds: xr.Dataset | xr.DataArray, **settings: Unpack[EvaluationSettings]) -> xr.Dataset:
    """Test an explanation on the model: take cells away in its order, in several ways, and watch the target.

    The groups of cells are ranked by the credit that the map gives them. With the share q of the most important taken
    away the target is the *deletion curve*; with only the share q of the most important kept, the *insertion curve*.
    What takes the place of what is gone is the fill; as no fill is innocent, several are used. Sturmfels, Lundberg and
    Lee, Distill 2020; Petsiuk et al., BMVC 2018.

    Parameters
    ----------
    model, x, target, outputs, dims, sample_dim, valid, missing, context, batch_size, device, autocast, evaluation, check, seed, progress
        As in :func:`tsattr.explain`, and as `ds` was made.
    ds
        What `explain` returned for `x`, or any attribution as a DataArray like `x`.
    metrics
        Which measures; by default all: gap, deletion, insertion, comprehensiveness, sufficiency, cumulative_deletion,
        cumulative_preservation, sensitivity_n, infidelity, completeness (see `tsattr.metrics` for their formulas).
    fills
        Baselines by name, what takes the place of what is removed. By default the mean over time and the straight line
        across the gap (where `x` has a time dim), and values of other samples: of `reference`, else of `x`.
        ``Inpaint(dims, noise=0.1)`` is the fill of ROAD (Rong et al., ICML 2022), in one dim or two.
    groups
        What is removed together. By default windows of a fiftieth of the time dim, every channel by itself: single cells
        can be told from their neighbours. Without a time dim, cells.
    rankings
        "signed" (what pushes the target up goes first) and "absolute" (what matters either way goes first).
    truth
        Boolean like `x`, True where attribution is known to belong; adds the measures of localisation (`average_precision`,
        `auroc`, ...), each with its level of chance beside it.
    steps
        Number of equal steps of a curve.
    top
        The share at which comprehensiveness and sufficiency are read.
    subsets, sizes
        Number of random subsets of each size (a share), for sensitivity_n and infidelity.
    draws
        Draws of each fill that draws.
    reference
        Training-like data with the sample dim, from which the default fills draw.

    Returns
    -------
    xr.Dataset
        For each sample (and target) ``deletion_curve`` and ``insertion_curve`` (fill, ranking, share) in units of the
        target, and each measure, with ``attrs["better"]``; `prediction`; `model_evaluations`.

    Raises
    ------
    TypeError, ValueError, KeyError, IndexError
        As `explain`, and where the explanation does not fit `x`.

    Warns
    -----
    ExplanationWarning
        Where `ds` was made for another target.

    Examples
    --------
    >>> import numpy as np, torch, tsattr as ta
    >>> f = lambda x: x @ torch.tensor([3.0, 2.0, 1.0, 0.0], dtype=torch.float64)
    >>> x = np.ones((1, 4))
    >>> ds = ta.explain(f, x, ta.IntegratedGradients())
    >>> sc = ta.evaluate(f, x, ds, fills={"zero": ta.baselines.Constant(0.0)}, steps=4)
    >>> sc.deletion_curve.sel(ranking="signed").values.ravel().tolist()
    [6.0, 3.0, 1.0, 0.0, 0.0]
    >>> sc.sensitivity_n.values.round(6).tolist(), sc.infidelity.values.round(6).tolist()
    ([[1.0]], [[0.0]])
    """
    s = filled("evaluate", settings, EVALUATION_DEFAULTS)
    each = EachOutput.of(model, x, s)
    s, ds = (s, ds) if each is None else (s | {"target": each.targets}, each.fold(ds))
    call = Call.of(model, x, **{k: s[k] for k in DEFAULTS})
    found = Measurement.of(call, s).run({"": alignment.read_maps(call.inputs, ds, len(call.targets.each))})
    if doubt := alignment.other_target(ds, found):
        tell(doubt)
    found = found.isel(method=0, drop=True)
    return found if each is None else each.unfold(found)
