"""`prepare`: what one call checks of its model and settings is checked once, for as many calls as a stream or a slider makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Unpack

import xarray as xr

from .core.method import Method
from .edge import members, trials
from .edge.each_output import EachOutput
from .edge.settings import DEFAULTS, CallSettings, filled, shown
from .explain import asked, explain
from .labels import parsing
from .labels.inputs import Inputs
from .labels.likeness import check_like

_OF_SAMPLES = ("valid", "context")  # settings that are of the samples of one call


@dataclass(frozen=True)
class Prepared:
    """A call that was checked and can be made of any samples like those that it was made for; see :func:`prepare`."""

    model: Any
    method: Method
    like: Inputs
    settings: dict[str, Any]
    doubts: dict[str, str]

    def __repr__(self) -> str:
        sizes = {d: n for v in self.like.variables for d, n in zip(v.axes.dims, v.axes.shape)}
        return f"prepare({self.method!r}, for samples of {', '.join(f'{d} {n}' for d, n in sizes.items())})"

    def __call__(self, x: Any, *, valid: Any = None, context: Any = None) -> xr.Dataset:
        """Explain some samples; `valid` and `context` are theirs, as in :func:`tsattr.explain`."""
        for name, given in zip(_OF_SAMPLES, (valid, context)):
            if given is None and self.settings[name] is not None:
                raise ValueError(
                    f"the call was prepared with {name}=, which is of its samples: give that of these, too"
                )
        inputs = parsing.read(x, self.settings["dims"], self.settings["sample_dim"], valid)
        check_like(inputs, self.like)
        given = self.settings | {"check": False, "valid": None, "context": context}
        ds = explain(self.model, inputs, self.method, **given)
        ds.attrs |= self.doubts
        return ds


@shown(CallSettings, DEFAULTS)
def prepare(model: Any, x_like: Any, method: Any, **settings: Unpack[CallSettings]) -> Prepared:
    """Check a call once and make it many times, as a stream, a slider or a loop does.

    ``prepare(model, x_like, method, ...)`` returns a function: ``prepared(x)`` gives what ``explain(model, x, method, ...)`` gives,
    bit for bit, without trying the model again.

    Parameters
    ----------
    model, method
        As in :func:`tsattr.explain`. The model is called as it is at the time: weights that change are seen.
    x_like
        Some samples like those to come: the same variables, dims in the same order, sizes, labels and dtypes. The model is
        tried on two of them, so that one sample is enough and two are better.
    target, outputs, dims, sample_dim, valid, context, missing, reference, batch_size, device, autocast, evaluation, check, seed, progress
        As in :func:`tsattr.explain`. What is of the samples (`valid` and `context`) is given to each call again.

    Returns
    -------
    callable
        ``prepared(x, *, valid=None, context=None) -> xr.Dataset``, with any number of samples of any labels.

        Checked once, here: the settings and what they say of labels and shapes, and by a trial that the model is a function of
        its row: that its outputs do not depend on the other rows, on chance or on what it was asked before; for a table, that it
        says the same of the rows as they came. Doubts are told here, and stand in the attrs of every result.

        Checked at every call: kinds, dims, sizes, labels, dtypes; missing and infinite cells; the shape of the outputs, and
        that they and the gradients are finite; what the method tests, as completeness; the `status` of each sample. The model
        is left as it was by each.

    Raises
    ------
    TypeError, ValueError, KeyError, IndexError
        As :func:`tsattr.explain`; and by a call, for samples that are not like `x_like`.

    Examples
    --------
    A stream, a second at a time:

    >>> import numpy as np, torch, xarray as xr, tsattr as ta
    >>> def second(k):
    ...     return xr.DataArray([[k, 1.0, 2.0]], dims=("sample", "time"), coords={"sample": [k], "time": [0.0, 0.1, 0.2]})
    >>> model = torch.nn.Linear(3, 1).double()
    >>> prepared = ta.prepare(model, second(0), ta.Occlusion(ta.groups.Cells()))
    >>> seconds = [prepared(second(k)) for k in range(3)]
    >>> all(one.identical(ta.explain(model, second(k), prepared.method, check=False)) for k, one in enumerate(seconds))
    True
    >>> prepared(second(0).isel(time=[0, 1]))
    Traceback (most recent call last):
    ValueError: x has 2 cells along 'time', and the call was prepared for 3: cut it to the same, or prepare a call for it
    """
    s: Any = filled("prepare", settings, DEFAULTS)
    like = parsing.read(x_like, s["dims"], s["sample_dim"], s["valid"])
    explain(model, like, method, dry_run="rows", **s)
    each = EachOutput.of(model, like, s, method.along)
    tried = s if each is None else s | {"target": each.targets}
    doubts: dict[str, str] = {}
    for one, seed in {id(m): (m, k) for m, k in members.runs(model, s["seed"], tried["target"]).values()}.values():
        call, *_ = asked(one, like, method, tried | {"seed": seed})
        with trials.running(call.quiet(), 0) as engine:
            doubts |= {k: str(v) for k, v in engine.notes.items() if k == "trial"}
    return Prepared(model, method, like, s, doubts)
