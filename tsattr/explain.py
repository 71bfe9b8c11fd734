"""`explain`: labelled data and a model in, a labelled explanation with its checks out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Unpack

import xarray as xr

from .core.method import Method, check_is_method
from .edge import members
from .edge.call import Call
from .edge.cautions import check_constants
from .edge.cost import check_dry_run
from .edge.each_output import EachOutput
from .edge.explained import explained
from .edge.settings import DEFAULTS, CallSettings, filled, shown
from .edge.warning import ExplanationWarning as ExplanationWarning
from .edge.warning import said_once
from .labels import parsing
from .labels.inputs import Inputs
from .models.pipelines import LastStep
from .models.transformed import TransformedInput


@shown(CallSettings, DEFAULTS)
def explain(
    model: Any, x: Any, method: Any, *, dry_run: bool | str = False, **settings: Unpack[CallSettings]
) -> xr.Dataset:
    """Explain what a model says of each sample.

    Parameters
    ----------
    model
        A torch module; a callable on tensors; ``ta.models.on_arrays(f)`` or ``on_frames(f)``; a fitted scikit-learn
        estimator or pipeline (``predict_proba``, else ``predict``), or its last step, ``ta.models.last_step(pipeline)``; or
        several models, ``ta.models.Ensemble([...])``. It gets tensors in `x`'s order of dims with the sample
        dim first, and is left exactly as it was, also after an error. A module, or its bound method, is explained in
        eval mode; put one that hides in a lambda into it yourself: ``model.eval()``.
    x
        A DataArray in any order of dims; a Dataset of variables that share the sample dim (the model is called with one
        tensor a variable, by keyword); a DataFrame (dims sample, feature); a numpy array or torch tensor (samples first).
    method
        What to compute: an object such as ``IntegratedGradients(...)`` or ``Occlusion(...)``.
    target
        Which number is explained: an int (the label where the output axis is labelled by whole numbers, with a warning where
        label and index differ; else an index), a string (a label of the output axis), an object of
        `tsattr.targets`, a function of the outputs, or a list of them or a mapping that names them, which adds a `target`
        dim; all share the model's forward passes. None: the single output; for one axis of several outputs the predicted one.
        Of the members of an ensemble together: ``ta.targets.Uncertainty(...)``, what makes the model unsure. Every output along
        some axes, with these axes in the result: ``ta.targets.Each("class")``.
    outputs
        Names of the output axes after the sample axis, with their labels if wanted: ``("time", "class")``,
        ``{"class": ["N", "S", "V"]}``. Or a DataArray like them, such as the truth: the result then has its units.
    dims
        Names of a bare array's dims.
    sample_dim
        The dim that holds the samples; "sample" by default.
    valid
        Boolean like `x`, False for padding; a DataArray may lack dims. NaN cells are invalid too, where `missing` does not make
        them values. Invalid cells are never changed, get NaN, and take no part in fills and sums.
    context
        Arrays by name, one entry a sample, that the model needs and that are not explained:
        ``model(rows, lengths=...)``.
    missing
        "value": a cell without a value (NaN) is a value like any other: the baseline's can take its place, it has its attribution, and
        takes part in groups and sums; for methods that remove. "invalid": it is no cell of its sample, is never changed, and has
        none. The model is given it either way. None: "value" in a table under a method that removes, else "invalid"; the
        result of a table says which.
    reference
        Training-like data with the sample dim: what clean data look like. Given at least 20 samples, the result says of each
        removal how far off the data it is. The range of a constant baseline is checked against it, else against `x`; and whether `x` is on
        its scale, in the same unit.
    batch_size
        Rows of one model call; "auto" takes a size by the input's size and halves it when memory runs out.
    device
        Where to run; by default where the module's parameters are. A module elsewhere is moved and moved back.
    autocast
        "bfloat16", "float16" or a torch dtype for mixed precision; None for none.
    evaluation
        "dense" asks the model about whole rows, and a method on prefixes about each prefix by itself. None: where it is cheaper, a removal is answered in a quicker way that agreed with
        the dense one on some rows, as from what it changes in a convolutional network, and a path from what its ends are in the
        first layers; ``attrs["evaluation"]`` says in which, and why not in others. Answers are the same but for rounding. A
        recurrent layer goes on from the state before a removal until each unit of its state is the intact one within
        ``attrs["state_tolerance"]``, 16 units in the last place of its size (at least of the largest unit's, up to 1), which is
        what another order of sums makes of it; "exact" never stops before the end.
    check
        False spares the trials that a call makes of its model on two samples: see `tsattr.edge.trials`. They take
        ``attrs["trial_rows"]`` rows, which are of no sample.
    seed
        Seed of all draws; they depend on it and on the sample (by coordinate value, else position) alone. Several seeds
        give the mean of as many runs and their agreement, as the members of an ensemble do.
    progress
        True for a bar with rate and remaining time, or a callable given (rows done, rows known of).
    dry_run
        True: return what the call would cost, without making it: ``model_evaluations`` and ``model_evaluations_least`` by sample,
        and in the attrs ``rows``, the most in all, with the ``trial_rows`` that are of no sample. The call's first batches are made
        twice, to count and to time them, and what they take is said of all rows: ``multiply_adds`` and ``seconds`` at most, with
        ``multiply_adds_least`` and ``seconds_least`` (a method that refines itself, or stops early, is in between);
        ``peak_bytes``, of tensors that live at once, inputs and result included; ``evaluation``, how removals are answered.
        Multiply-adds are those of matrix products and convolutions in torch. "rows": the rows alone, and the model is not asked.

    Returns
    -------
    xr.Dataset
        ``attribution`` with the dims, order and coordinates of `x` (and `target`, for several), in `x`'s dtype and the
        target's units; ``prediction``; ``reference``, ``completeness_gap``, ``completeness_error``, ``standard_error``,
        ``group_value``, ``steps`` where the method has them; ``predicted``, the class with the largest output, where the
        target depends on it (none where an output is NaN: "" among labels of text, NaT among dates, else NaN);
        ``model_evaluations``, the rows asked for each sample, to which ``attrs["trial_rows"]`` adds those of no sample (of a
        model without gradients ``attrs["repeated_rows"]`` says how many of them were equal to another one of their sample and
        batch, whose answer they got);
        ``status`` of each sample, the gravest that befell it:

        - "ok": a method whose map sums to the difference has such a sum (`IntegratedGradients` says within what);
        - "not converged": more steps or draws are needed, or the sum misses the difference, as where gradients are blocked;
        - "non-finite gradient": where the outputs are finite; ``attrs["gradient_fault"]`` says which operation of which layer
          makes it first and what of the input it reaches, where that can be found (on a CPU);
        - "non-finite output", here or without some of the input;
        - "no baseline": it has no value (NaN) for a cell of the sample, though it has for other samples, else ValueError;
        - "all missing".

        From "non-finite gradient" on there is no map. The attrs say how it was made.

        With a `reference`, for a method that removes: ``shift`` (sample, group), how far off clean data the input without
        that group is, 1 being the 99th percentile of clean data; ``shift_diagnostic``, the same by distance (Mahalanobis in a
        principal subspace, residual outside it, nearest neighbour, spectrum, jump at the join, the model's penultimate
        features); ``shift_intact`` (sample); ``shift_beyond`` (diagnostic), the share of removals beyond 1; and
        ``detector_auc``, how well a classifier tells removals from clean data (0.5: not at all). Blurred and constant fills
        look unsuspicious to distances from the mean: look at the spectrum and the classifier.

        Of several members or seeds: means, ``standard_error`` between them, ``prediction_sd``, ``agreement``.

    Raises
    ------
    TypeError, ValueError, KeyError, IndexError
        Naming the rule, the value and the fix, before any work where labels and shapes tell. A model whose outputs for a row
        depend on the batch, on chance or on earlier calls is refused.

    Warns
    -----
    ExplanationWarning
        Once, naming the samples whose status is not "ok"; and where a constant baseline lies outside a channel's range; where `x` varies
        a hundred times as much as a `reference`, or as little, or says another unit (also in ``attrs["reference_doubt"]``); and where
        the model is hardly a function of its row.

    Examples
    --------
    >>> import numpy as np, torch, xarray as xr, tsattr as ta
    >>> x = xr.DataArray(np.ones((2, 3)), dims=("sample", "time"), coords={"time": [0.0, 0.1, 0.2]})
    >>> w = torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64)
    >>> ds = ta.explain(lambda x: x @ w, x, ta.IntegratedGradients())
    >>> ds.attribution.sel(time=0.2).values.round(9).tolist(), ds.status.values.tolist()
    ([-2.0, -2.0], ['ok', 'ok'])
    """
    check_is_method(method)
    check_dry_run(dry_run)
    s: Any = filled("explain", settings, DEFAULTS)
    inputs = parsing.read(x, s["dims"], s["sample_dim"], s["valid"])
    each = EachOutput.of(model, inputs, s, method.along)
    s = s if each is None else s | {"target": each.targets}
    runs = members.runs(model, s["seed"], s["target"])
    results: dict[str, xr.Dataset] = {}
    tried: set[int] = set()
    with said_once() if len(runs) > 1 else contextlib.nullcontext():
        for name, (one, seed) in runs.items():
            given = s | {"seed": seed, "check": False if id(one) in tried else s["check"]}
            call, own, back = asked(one, inputs, method, given)
            ds = explained(call, own, dry_run=dry_run)
            results[name] = ds if dry_run else back(ds)
            tried.add(id(one))
    if len(runs) > 1:
        ds = members.total_cost(results) if dry_run else members.combine(results)
    else:
        ds = results.popitem()[1]
    return ds if dry_run or each is None else each.unfold(ds)


def asked(
    model: Any, inputs: Inputs, method: Method, settings: Any
) -> tuple[Call, Method, Callable[[xr.Dataset], xr.Dataset]]:
    """The call of one model and seed, the method to run on it, and what makes the result one of the input.

    The last step of a pipeline is explained in its transformed columns.
    """
    if not isinstance(model, LastStep):
        return Call.of(model, inputs, method, **settings), method, lambda ds: ds
    columns = TransformedInput.of(model, inputs, settings["missing"], removes=not method.gradient)
    check_constants(method, inputs, settings["reference"], inputs.n)
    inner, outputs = columns.model(method, settings["outputs"])
    settings = settings | {
        "reference": columns.reference(settings["reference"]),
        "outputs": outputs,
        "dims": None,
        "sample_dim": inputs.sample_dim,
        "valid": columns.valid(),
        "missing": columns.missing,
    }
    call = Call.of(inner, columns.table(), method, **settings)
    return call, columns.method(method), lambda ds: columns.result(ds, method)
