"""Every output at once: the targets that `Each` stands for, and results with the outputs' own dims."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ..core.axes import Axes
from ..core.bound import BoundTargets
from ..core.targets.each import Each
from ..labels import parsing
from ..labels.inputs import Inputs
from ..models import Ensemble
from ..models.pipelines import LastStep
from .call import Call, output_axes
from .settings import DEFAULTS


class EachOutput:
    """The targets of one call that asks for `Each`, and its results folded and unfolded.

    Attributes
    ----------
    each
        What the user asked for.
    axes
        The model's output axes.
    rows
        Rows that were asked to learn them.
    """

    def __init__(self, each: Each, model: Any, inputs: Inputs, settings: Any) -> None:
        self.each, self.rows = each, 0
        one = model.members[0] if isinstance(model, Ensemble) else model
        if isinstance(one, LastStep):
            raise TypeError(
                f"{each!r} looks at the model's outputs, which {one!r} hides; give a list, target=[label, ...]"
            )
        call = Call.of(one, inputs, **{k: settings[k] for k in DEFAULTS} | {"target": lambda y: y.flatten(1)[:, 0]})
        found = output_axes(call.outputs, call.model)
        self.axes = self._asked(call) if found is None else found
        self.targets = each.targets(self.axes)
        self.dims = {d: f"output_{d}" if d in _dims(inputs) else d for d in each.over(self.axes)}

    @classmethod
    def of(cls, model: Any, x: Any, settings: Any) -> EachOutput | None:
        """Of a call with these settings; None where they ask for no `Each`."""
        if not isinstance(settings["target"], Each):
            return None
        inputs = parsing.read(x, settings["dims"], settings["sample_dim"], settings["valid"])
        return cls(settings["target"], model, inputs, settings)

    def _asked(self, call: Call) -> Axes:
        """The output axes of a model whose outputs nobody has described: it is asked for one row."""
        seen: list[tuple[int, ...]] = []

        def bind(shape: tuple[int, ...]) -> BoundTargets:
            seen.append(shape)
            return call.bind(shape)

        with call.quiet().running(1) as engine:
            engine.bind = bind
            next(call.chunks(engine, most=1))
            self.rows = 1 + engine.notes["trial_rows"]
        axes = output_axes(call.outputs, call.model, seen[0])
        assert axes is not None
        return axes

    def unfold(self, ds: xr.Dataset) -> xr.Dataset:
        """A result, or a table of scores, with the outputs' dims and labels in place of ``target``."""
        places = {d: self.axes.dims.index(d) for d in self.dims}
        sizes = [self.axes.shape[a] for a in places.values()]
        out = {}
        for name, v in ds.data_vars.items():
            if "target" not in v.dims:
                out[name] = v
                continue
            at = v.dims.index("target")
            values = v.values.reshape(*v.shape[:at], *sizes, *v.shape[at + 1 :])
            coords = {k: c for k, c in v.coords.items() if "target" not in c.dims}
            dims = [*v.dims[:at], *self.dims.values(), *v.dims[at + 1 :]]
            out[name] = xr.DataArray(values, coords, dims, attrs=v.attrs)
            if "long_name" in v.attrs:
                out[name].attrs["long_name"] = v.attrs["long_name"].partition(" of ")[0] + f" of {self.each!r}"
        found = ds.drop_vars([k for k, v in ds.variables.items() if "target" in v.dims]).assign(out)
        found = found[list(ds.data_vars)]
        for d, name in self.dims.items():
            if d in self.axes.coords:
                attrs = {"units": self.axes.units[d]} if self.axes.units.get(d) else {}
                found = found.assign_coords({name: (name, np.asarray(self.axes.coords[d]), attrs)})
        found.attrs = ds.attrs | {"target": repr(self.each)}
        if self.rows and "trial_rows" in found.attrs:
            found.attrs["trial_rows"] += self.rows
        return found

    def fold(self, given: Any) -> Any:
        """A result with the outputs' dims, or an attribution, with the dim ``target`` instead."""
        names = list(self.dims.values())
        if not isinstance(given, xr.Dataset | xr.DataArray) or not set(names) <= set(given.dims):
            return given
        bare = given.drop_vars([n for n in names if n in given.coords])
        folded = bare.stack(target=names, create_index=False)
        return folded.assign_coords(target=[repr(t) for t in self.targets])


def _dims(inputs: Inputs) -> set[str]:
    return {inputs.sample_dim, *(d for v in inputs.variables for d in v.axes.dims)}
