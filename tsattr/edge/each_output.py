"""Every output at once: the targets that `Each` stands for, and results with the outputs' own dims."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..core.axes import Axes
from ..core.bound import BoundTargets
from ..core.results import RESERVED
from ..core.targets.call_targets import of_one_time
from ..core.targets.each import Each
from ..core.targets.outputs import without_axis
from ..core.units import written
from ..labels import parsing
from ..labels.inputs import Inputs
from ..models import Ensemble
from ..models.pipelines import LastStep
from .call import Call, output_axes
from .settings import DEFAULTS
from .warning import tell

_ADDED = RESERVED | {"better", "fill", "lag", "measure", "method", "method_other", "ranking", "share"}
"""Names that results and tables of scores give to dims and coordinates of their own."""


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

    def __init__(self, each: Each, model: Any, inputs: Inputs, settings: Any, along: str | None = None) -> None:
        self.each, self.rows = each, 0
        one = model.members[0] if isinstance(model, Ensemble) else model
        if isinstance(one, LastStep):
            raise TypeError(
                f"{each!r} looks at the model's outputs, which {one!r} hides; give a list, target=[label, ...]"
            )
        call = Call.of(
            one,
            inputs,
            **{k: settings[k] for k in DEFAULTS} | {"target": lambda y: y.reshape(len(y), -1)[:, 0], "seed": 0},
        )
        found = output_axes(call.outputs, call.model)
        self.axes = self._asked(call) if found is None else found
        with of_one_time(self.axes, along):
            self.targets = each.targets(without_axis(self.axes, along))
            dims = each.over(without_axis(self.axes, along))
        self.dims = _unlike(dims, _names(inputs))

    @classmethod
    def of(cls, model: Any, x: Any, settings: Any, along: str | None = None) -> EachOutput | None:
        """Of a call with these settings, of a method that tells apart a dim `along` itself; None where they ask for no `Each`."""
        if not isinstance(settings["target"], Each):
            return None
        inputs = parsing.read(x, settings["dims"], settings["sample_dim"], settings["valid"])
        return cls(settings["target"], model, inputs, settings, along)

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
        self._tell_of_gaps(found)
        if self.rows and "trial_rows" in found.attrs:
            found.attrs["trial_rows"] += self.rows
        return found

    def _tell_of_gaps(self, found: xr.Dataset) -> None:
        """Say of outputs that never have a value, as on land, that they leave a sample without any map."""
        if "status" not in found or not self.dims:
            return
        never = found["prediction"].isnull().all(found["status"].dims)
        if 0 < (n := int(never.sum())) < never.size:
            tell(
                f"{n} of {never.size} outputs are NaN for every sample, and a sample with an output that is not finite has no map of any: let the "
                "model return those that have values, lambda x: model(x)[:, known], with their labels in outputs="
            )

    def fold(self, given: Any) -> Any:
        """A result with the outputs' dims, or an attribution, with the dim ``target`` instead; labels are matched, in any order."""
        names = list(self.dims.values())
        if not isinstance(given, xr.Dataset | xr.DataArray) or not set(names) <= set(given.dims):
            return given
        for d, name in self.dims.items():
            given = self._aligned(given, d, name)
        return _stacked(given, names, [repr(t) for t in self.targets])

    def _aligned(self, given: Any, dim: str, name: str) -> Any:
        """A result with the entries of an output axis in the model's order."""
        n = self.axes.shape[self.axes.dims.index(dim)]
        if dim in self.axes.coords and name in given.coords:
            at = given.get_index(name).get_indexer(pd.Index(np.asarray(self.axes.coords[dim])))
            if (at >= 0).all():
                return given.isel({name: at})
        elif given.sizes[name] == n:
            return given
        wanted = written(np.asarray(self.axes.coords.get(dim, range(n))))
        found = written(given[name].values)
        raise ValueError(
            f"the attribution along {name!r} is of {found}, and the model's outputs are {wanted}; give that of every output, or name "
            "as target the one that was explained"
        )


def folded(ds: xr.Dataset) -> xr.Dataset:
    """A result of `Each`, or a table, with one dim ``target`` in place of the outputs' own: for pictures and reports.

    Its labels are those of the outputs.

    >>> maps = {"prediction": (("sample", "lead"), [[1.0, 2.0]]), "status": ("sample", ["ok"])}
    >>> folded(xr.Dataset(maps, {"lead": [3, 6]})).target.values.tolist()
    ['lead=3', 'lead=6']
    """
    of_samples = [name for name in ("status", "test_evaluations") if name in ds]
    if "prediction" not in ds or not of_samples:
        return ds
    names = [str(d) for d in ds["prediction"].dims if d not in (*ds[of_samples[0]].dims, "target")]
    if not names:
        return ds
    labels = [written(ds[n].values) if n in ds.coords else range(ds.sizes[n]) for n in names]
    alone = len(names) == 1 and ds[names[0]].dtype.kind in "OUT" and all(isinstance(v, str) for v in labels[0])
    texts = [at[0] if alone else ", ".join(f"{n}={v}" for n, v in zip(names, at)) for at in itertools.product(*labels)]
    out: xr.Dataset = _stacked(ds, names, texts)
    return out


def _stacked(given: Any, names: list[str], labels: list[str]) -> Any:
    """A result with the dims `names` stacked to ``target``."""
    own = [k for k, c in given.coords.items() if set(c.dims) & set(names)]
    return given.drop_vars(own).stack(target=names, create_index=False).assign_coords(target=labels)


def _names(inputs: Inputs) -> set[str]:
    """Names of dims and coordinates that a result of this input has, whatever is explained."""
    given = {str(d) for v in inputs.variables for d in (*v.axes.dims, *v.array.dims, *v.array.coords)}
    return given | {inputs.sample_dim} | _ADDED


def _unlike(dims: tuple[str, ...], taken: set[str]) -> dict[str, str]:
    """Names of output axes in the result: their own, or with ``output_`` before it as often as it takes to be nobody else's."""
    out: dict[str, str] = {}
    for d in dims:
        name = d
        while name in taken or name in out.values() or (name != d and name in dims):
            name = f"output_{name}"
        out[d] = name
    return out
