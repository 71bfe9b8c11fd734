"""A gallery of cases as a model sees them, and the cases nearest to a query."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
import pandas as pd
import sklearn
import torch
import xarray as xr
from torch import nn

from .. import io
from ..core.method import check_is_method
from ..core.results import check_count, check_flag
from ..edge.settings import DEFAULTS, filled, shown
from ..labels import parsing
from ..labels.inputs import Inputs
from ..methods.integrated_gradients import IntegratedGradients
from ..version import __version__
from . import alike, neighbours, stored, upgrade
from .alike import NEIGHBOUR
from .embedding import DIM, EMBED, Embedder, EmbedSettings
from .labels import check_kinds, check_names, comparable, matched, order_of, taken, writable
from .stored import CASE
from .transformation import Transformation
from .upgrade import UNCERTAINTY

SIDE = "side"
_FORMAT = "gallery of tsattr"
_WITNESS = 1e-3  # how far embeddings of one record may be apart by rounding on another device
_CARRY = (
    "gallery.upgrade(new_model, pairs) carries the gallery over to a new model; or give the model that it was fitted with, or fit "
    "it anew"
)


class WhySettings(EmbedSettings, total=False):
    """What an explanation of a similarity takes beside; see :func:`tsattr.explain`."""

    reference: Any
    seed: int


WHY: dict[str, Any] = {name: DEFAULTS[name] for name in WhySettings.__annotations__}


@dataclass(frozen=True, eq=False)
class Gallery:
    """Cases as a model sees them: labelled embeddings, in which those most like a query are found.

    Made by :meth:`fit` or read by :meth:`read`.

    Parameters
    ----------
    data
        ``embedding`` (case, embedding), float64, 8 bytes a number; ``side`` (case, side) where there is side information;
        the coordinates of the cases; where they are kept, the cases themselves: ``input`` (case, \\*event) in the dtype of x
        (``input_NAME`` of several variables, codes of a table), ``valid`` and ``context_NAME``. The attrs have ``model``,
        ``layer``, ``metric``, ``fingerprint`` (SHA-256 of the model's weights) and versions.
    embedder
        What embeds queries. It is never written.
    side
        What gives side information, as an embedder. It is never written.
    transformation
        Of a gallery carried over to a new model by :meth:`upgrade`, what did so; it is written with the gallery.
    """

    data: xr.Dataset
    embedder: Embedder | None = None
    side: Embedder | None = None
    transformation: Transformation | None = None

    def __post_init__(self) -> None:
        if self.data.attrs.get("format") != _FORMAT or "embedding" not in self.data:
            raise ValueError("this is no gallery: it is made by Gallery.fit(model, x) and read by Gallery.read(path)")
        _check_metric(self.metric)

    def __repr__(self) -> str:
        n, size = self.embedding.shape
        moved = ""
        if UNCERTAINTY in self.data.coords:
            moved = f", {int((self.data[UNCERTAINTY] != 0).sum())} of them transformed"
        return f"Gallery({n} cases{moved}, {size} numbers each, {self.metric}, by {self._made_by})"

    @classmethod
    @shown(EmbedSettings, EMBED)
    def fit(
        cls,
        model: Any,
        x: Any,
        *,
        layer: str | None = None,
        side: Any = None,
        labels: Any = None,
        metric: str = "cosine",
        keep: bool = True,
        **settings: Unpack[EmbedSettings],
    ) -> Gallery:
        """Embed cases: ``a_i = phi(x_i)``.

        Parameters
        ----------
        model, x, layer, dims, sample_dim, valid, context, batch_size, device, autocast, check, progress
            As for :func:`tsattr.cases.embed`.
        side
            A model of any kind, or a fitted transformer, that gives each case a row of numbers without knowing the task: what
            an update of the model can go by beside the embedding.
        labels
            A label of each case, kept as its coordinate ``label``, as are all coordinates of the samples of `x` (a patient).
        metric
            "cosine" (one minus the cosine of the angle) or "euclidean".
        keep
            Keep `x` beside the embeddings, in its dtype: pictures of the cases, and why they are alike, need it. False
            where it is large or must not be handed on.

        Raises
        ------
        TypeError, ValueError, KeyError
            As `embed`; labels that do not fit; a dim or coordinate of `x` called as something in a gallery is.

        Examples
        --------
        >>> import numpy as np, tsattr as ta
        >>> x = np.array([[0.0, 1.0], [0.0, 2.0], [3.0, 0.0]])
        >>> gallery = ta.cases.Gallery.fit(lambda x: x, x, labels=["up", "up", "right"])
        >>> gallery.nearest(np.array([[2.0, 1.0]]), k=2).case_label.values.tolist()
        [['right', 'up']]
        """
        given = filled("Gallery.fit", settings, EMBED)
        _check_metric(metric)
        check_flag("keep", keep)
        inputs = parsing.read(x, given["dims"], given["sample_dim"], given["valid"])
        check_names(_names(inputs))
        coords = _coords(inputs, labels)
        context = parsing.read_context(given["context"], inputs)
        kept = stored.keep(inputs, context) if keep else {}
        embedder = Embedder.of(model, inputs, layer, given)
        found = embedder(inputs, given)
        data = {"embedding": ((CASE, DIM), found.values)} | kept
        attrs = found.attrs
        beside = None if side is None else Embedder(side)
        if beside is not None:
            information = beside(inputs, given)
            data["side"] = ((CASE, SIDE), information.values)
            attrs = attrs | {"side_model": beside.name, "side_fingerprint": beside.fingerprint}
        attrs = {"format": _FORMAT, "metric": metric, "sample_dim": inputs.sample_dim, **attrs, **_versions()}
        return cls(xr.Dataset(data, coords, attrs), embedder, beside)

    @classmethod
    def read(cls, path: str | os.PathLike[str], *, model: Any = None, side: Any = None) -> Gallery:
        """Read a gallery from NetCDF or Zarr.

        Parameters
        ----------
        path
            As `write` wrote it. Damage is found by its checksums.
        model
            What the gallery was fitted with, to embed queries: a module, whose layer is known, or a function that gives the
            embeddings, which is tried on the first case where the cases are kept. None: queries are given as embeddings.
        side
            What gave its side information.

        Raises
        ------
        ValueError
            The file is missing, damaged, or no gallery; `model` is another one than the gallery's.

        Examples
        --------
        >>> import tempfile, numpy as np, tsattr as ta
        >>> x = np.array([[0.0, 1.0], [3.0, 0.0]])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ta.cases.Gallery.fit(lambda x: x, x).write(folder + "/gallery.nc")
        ...     gallery = ta.cases.Gallery.read(folder + "/gallery.nc", model=lambda x: x)
        >>> gallery.nearest(np.array([[1.0, 2.0]]), k=1).position.item()
        0
        """
        data, transformation = Transformation.out_of(io.read_result(path))
        layer = str(data.attrs.get("layer", "")) if isinstance(model, nn.Module) else ""
        embedder = None if model is None else Embedder(model, layer)
        gallery = cls(data, embedder, None if side is None else Embedder(side), transformation)
        gallery.check_model()
        gallery._check_witness()
        return gallery

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write it to NetCDF, or Zarr where the name ends in ``.zarr``: whole or not at all, with checksums, no pickle.

        The model is not written.

        Raises
        ------
        ValueError
            As `tsattr.io.write_result`.
        """
        io.write_result(self.data if self.transformation is None else self.transformation.beside(self.data), path)

    @property
    def embedding(self) -> np.ndarray:
        """The cases' embeddings (cases, numbers)."""
        return np.asarray(self.data["embedding"].transpose(CASE, DIM).values, np.float64)

    @property
    def metric(self) -> str:
        """ "cosine" or "euclidean"."""
        return str(self.data.attrs["metric"])

    @property
    def _made_by(self) -> str:
        layer = self.data.attrs.get("layer", "")
        return str(self.data.attrs.get("model", "")) + (f" at {layer!r}" if layer else "")

    def check_model(self, fingerprint: str | None = None) -> None:
        """ValueError where embeddings of another model than the gallery's would be compared with its own.

        `fingerprint` is that of a query's model, by default the embedder's as its weights are now. Models without weights
        have none; `read` tells them by the first case, where the cases are kept.
        """
        own = str(self.data.attrs.get("fingerprint", ""))
        if fingerprint is None:
            fingerprint = "" if self.embedder is None else self.embedder.fingerprint
        if own and fingerprint and own != fingerprint:
            raise ValueError(
                f"the gallery holds embeddings by {self._made_by} with the weights {own[:12]}, the model has the weights "
                f"{fingerprint[:12]}: distances between the two mean nothing. {_CARRY}"
            )

    def _check_witness(self) -> None:
        """As `check_model` for a function, which weights do not tell: whether it makes of a case it embedded what the gallery holds."""
        told = self.embedder is not None and isinstance(self.embedder.model, nn.Module) and self.embedder.fingerprint
        if self.embedder is None or told or not stored.is_kept(self.data):
            return
        first = upgrade.embedded(self.data)[:1]
        if not len(first):
            return
        x, kept = stored.restore(self.data, first, "sample")
        inputs = parsing.read(x, None, "sample", kept.pop("valid", None))
        a, own = self.embedder(inputs, {**EMBED, **kept, "check": False}).values, self.embedding[first]
        if a.shape != own.shape or not np.allclose(a, own, _WITNESS, _WITNESS * np.abs(own).max(), equal_nan=True):
            raise ValueError(
                f"the model makes other numbers of the gallery's first case than the gallery holds, by {self._made_by}: it is not "
                f"the one that the gallery was fitted with. {_CARRY}"
            )

    def embed(self, q: Any, settings: Mapping[str, Any] | None = None) -> xr.DataArray:
        """The embeddings (sample, embedding) of queries: by the gallery's model, or `q` itself where it has the dim embedding."""
        if isinstance(q, xr.DataArray) and DIM in q.dims:
            return self._given(q)
        if self.embedder is None:
            raise ValueError(
                "the gallery has no model to embed queries with: Gallery.read(path, model=...), or give embeddings, a "
                "DataArray (sample, embedding) as tsattr.cases.embed gives it"
            )
        self.check_model()
        given = EMBED | dict(settings or {})
        return self._given(self.embedder(self._read(q, given), given))

    def _read(self, q: Any, given: Mapping[str, Any]) -> Inputs:
        """Queries as inputs; their samples lie along the dim that held the cases', where nothing else is said."""
        sample, own = given["sample_dim"], self.data.attrs.get("sample_dim")
        if sample is None and isinstance(q, xr.DataArray | xr.Dataset) and own in q.dims:
            sample = own
        return parsing.read(q, given["dims"], sample, given["valid"])

    def _given(self, a: xr.DataArray) -> xr.DataArray:
        """Embeddings, checked, samples first."""
        others = [d for d in a.dims if d != DIM]
        if len(others) != 1:
            raise ValueError(f"embeddings have the dims (sample, embedding), got {list(a.dims)}")
        if a.sizes[DIM] != self.data.sizes[DIM]:
            raise ValueError(
                f"the query's embeddings have {a.sizes[DIM]} numbers, the gallery's {self.data.sizes[DIM]}: they are of "
                f"another layer or model than {self._made_by}"
            )
        self.check_model(str(a.attrs.get("fingerprint", "")))
        check_names([name for name in (*a.dims, *a.coords) if name != DIM])
        return a.transpose(*others, DIM).astype(np.float64)

    @shown(EmbedSettings, EMBED)
    def nearest(
        self,
        q: Any,
        k: int = 5,
        *,
        apart: str | None = None,
        itself: bool = False,
        **settings: Unpack[EmbedSettings],
    ) -> xr.Dataset:
        """The k cases that the model holds to be most like each query.

        Of equal distances the case whose label comes first, else whose position does.

        Parameters
        ----------
        q, dims, sample_dim, valid, context, batch_size, device, autocast, check, progress
            Queries as for `tsattr.explain`, or their embeddings: a DataArray with the dim ``embedding``. Their sample dim is by
            default that of the cases.
        k
            Neighbours of each.
        apart
            A coordinate of queries and cases, such as the patient: cases that share the query's are left out. A missing one ("",
            NaN) is nobody's.
        itself
            True lets a query find itself. Otherwise the case with the label (coordinate value along the sample dim) of the query
            is left out; where one side has no labels, nothing tells that a case is the query.

        Returns
        -------
        xr.Dataset
            (sample, neighbour), nearest first, neighbour counting from 1: ``case``, its label, else its position;
            ``distance``; ``position`` in the gallery; ``case_NAME`` for each coordinate of the cases. ``status`` (sample):
            "ok"; "no embedding", not finite or, for the cosine, all zero; "fewer cases" where `apart` leaves fewer than k. There
            positions are -1, distances NaN and labels "" or NaN.

        Raises
        ------
        ValueError
            `k` larger than the gallery; a query of another model; `apart` that one side lacks.

        Examples
        --------
        >>> import numpy as np, xarray as xr, tsattr as ta
        >>> x = xr.DataArray(np.eye(3), dims=("sample", "time"), coords={"sample": ["a", "b", "c"]})
        >>> gallery = ta.cases.Gallery.fit(lambda x: x.cumsum(1), x, metric="euclidean")
        >>> near = gallery.nearest(x, k=1)
        >>> near.case.values[:, 0].tolist(), near.distance.values[:, 0].tolist()
        (['b', 'a', 'b'], [1.0, 1.0, 1.0])
        """
        given = filled("nearest", settings, EMBED)
        check_count("k", k)
        check_flag("itself", itself)
        n = self.data.sizes[CASE]
        if k > n:
            raise ValueError(f"k={k} neighbours are asked for, and the gallery has {n} cases; give k of at most {n}")
        a = self.embed(q, given)
        sample = str(a.dims[0])
        own = None if CASE not in self.data.coords else self.data[CASE].values
        at, distance = neighbours.nearest(
            self.embedding,
            a.values,
            k,
            metric=self.metric,
            kin=self._kin(a, apart, itself),
            rank=None if own is None else order_of(own),
        )
        dims = (sample, NEIGHBOUR)
        found: dict[str, Any] = {
            "case": (dims, at if own is None else taken(own, at)),
            "distance": (dims, distance, {"long_name": f"{self.metric} distance"}),
            "position": (dims, at),
        }
        for name, c in self.data.coords.items():
            if c.dims == (CASE,) and name != CASE:
                found[f"case_{name}"] = (dims, taken(c.values, at), c.attrs)
        unknown = np.isnan(neighbours.directions(a.values, self.metric)).any(1)
        found["status"] = ((sample,), np.where(unknown, "no embedding", np.where((at < 0).any(1), "fewer cases", "ok")))
        coords = {name: c for name, c in a.coords.items() if c.dims == (sample,)} | {NEIGHBOUR: np.arange(1, k + 1)}
        attrs = {name: v for name, v in self.data.attrs.items() if name != "format"} | _versions()
        attrs |= {"cases": n, "left_out": _left_out(apart, itself)}
        return xr.Dataset(found, coords, attrs)

    @shown(WhySettings, WHY)
    def why(
        self,
        q: Any,
        near: xr.Dataset | None = None,
        *,
        method: Any = None,
        **settings: Unpack[WhySettings],
    ) -> xr.Dataset:
        """Why each query and its neighbours are alike: the cells by which their embeddings agree.

        What is explained is the similarity ``s(x) = cos(phi(x), a)``, or ``-|phi(x) - a|^2`` for "euclidean", as a model of one of
        the two with the embedding `a` of the other held fixed; once as one of the query, once of the case. A complete method's
        map sums to ``s(x) - s(baseline)``. Beware of the cosine with a baseline whose embedding is zero: it has no direction,
        and its similarity is taken for 0. A pair costs two explanations.

        Parameters
        ----------
        q, dims, sample_dim, valid, context, batch_size, device, autocast, check, progress, reference, seed
            Queries as for `tsattr.explain`; reference and seed as there.
        near
            What :meth:`nearest` found for them, or some of its neighbours; None takes the five nearest.
        method
            Any method that `tsattr.explain` takes; None is `IntegratedGradients()`. Models without gradients take `Occlusion`.

        Returns
        -------
        xr.Dataset
            What `tsattr.explain` returns, with the dim ``neighbour`` after that of the samples: ``attribution`` at the query's
            cells, ``prediction`` the similarity, ``reference`` that of the baseline, ``completeness_gap``, ``status``, ...; the
            same of the case as ``attribution_of_case``, ``reference_of_case``, ..., where the gallery keeps its cases, in the
            query's order of dims (``time_of_case`` where the labels of time are others); and all of `near`. Where there is no
            neighbour the status is "no case" and the map NaN.

        Raises
        ------
        TypeError, ValueError
            As `tsattr.explain`; queries given as embeddings; `near` of other queries or of another gallery.

        Examples
        --------
        >>> import numpy as np, tsattr as ta
        >>> x = np.array([[1.0, 0.0], [2.0, 2.0]])
        >>> gallery = ta.cases.Gallery.fit(lambda x: x, x, metric="euclidean")
        >>> q = np.array([[1.0, 3.0]])
        >>> gallery.why(q, gallery.nearest(q, k=1)).attribution.values.round(9).tolist()  # x (2 a - x)
        [[[3.0, 3.0]]]
        """
        given = filled("why", settings, WHY)
        method = IntegratedGradients() if method is None else method
        check_is_method(method)
        if self.embedder is None or (isinstance(q, xr.DataArray) and DIM in q.dims):
            raise ValueError(
                "why two cases are alike is asked of the model about the queries themselves: Gallery.read(path, model=...), and "
                "give the queries as the model takes them"
            )
        inputs = self._read(q, given)
        check_names(_names(inputs))
        asked = {name: given[name] for name in EMBED}
        own = self.embed(inputs, asked)
        near = self.nearest(own, min(5, self.data.sizes[CASE])) if near is None else near
        self._check_near(near, inputs)
        return alike.both_sides(self.embedder, self.data, inputs, own.values, near, method, given)

    @shown(EmbedSettings, EMBED)
    def upgrade(
        self,
        new_model: Any,
        pairs: Any,
        *,
        layer: str | None = None,
        blocks: Any = None,
        seed: int = 0,
        **settings: Unpack[EmbedSettings],
    ) -> Gallery:
        """Carry the gallery over to a new model without the cases themselves (forward-compatible update).

        From pairs, samples that both models embed, it is learnt what the new model would make of a case, from the old embedding
        and the side information: ``h(a, s) ~ phi_new(x)``; and how far that may be off. Then every case is transformed. What the old
        model threw away is not in its embedding: fit galleries with side information, such as the principal components of the
        signals (a fitted ``PCA`` as `side`), which carried most of it where both were measured.

        Parameters
        ----------
        new_model, layer
            As for :meth:`fit`. None where the model is not at hand and `pairs` are embeddings.
        pairs
            Samples, best those that the new model was trained on, as for :meth:`fit`: both models are run on them, and what gives
            side information. Or, where the old model is gone, what they made of the same samples: a mapping with ``old``,
            ``new`` and, if the gallery has it, ``side``, each (sample, number) as :func:`tsattr.cases.embed` gives it. Or the
            :class:`~tsattr.cases.Transformation` of another gallery of the old model.
        blocks
            A coordinate of the samples such as the patient, or an array: blocks are held out whole, so that the uncertainty is
            that of new patients; see :meth:`tsattr.cases.Transformation.fit`.
        seed, dims, sample_dim, valid, context, batch_size, device, autocast, check, progress
            Of the training; the others as for :meth:`fit`.

        Returns
        -------
        Gallery
            With the new model's embeddings as `embedding`, and the coordinate ``uncertainty`` (case): the distance from the model's
            own embedding that is to be expected, in the gallery's metric, 0 where the embedding is the model's own. The attr
            ``updates`` has a line for each update. Its ``transformation`` prints its ``calibration``.

        Raises
        ------
        ValueError
            Fewer than 20 pairs; pairs of another model than the gallery's; no side information where the gallery has it, or the
            reverse; a model that is needed and not there.

        Examples
        --------
        >>> import numpy as np, tsattr as ta
        >>> x = np.random.default_rng(0).normal(size=(40, 3))
        >>> gallery = ta.cases.Gallery.fit(lambda x: 2 * x, x[:3], metric="euclidean")
        >>> gallery.upgrade(lambda x: x - 1, x).embedding.round(6).tolist() == (x[:3] - 1).round(6).tolist()
        True
        """
        given = filled("upgrade", settings, EMBED)
        embedder = None
        if isinstance(pairs, Transformation):
            h = pairs
        else:
            if isinstance(pairs, Mapping) and "old" in pairs:
                embedded = upgrade.given_pairs(pairs)
            else:
                old, side = self._embedders_of_pairs(new_model)
                embedded, embedder = upgrade.run_both(pairs, old, side, new_model, layer, given)
            h = upgrade.learnt(embedded, blocks, seed=seed, progress=bool(given["progress"]))
        if embedder is None and new_model is not None:
            known = str(h.data.attrs.get("new_layer", "")) if isinstance(new_model, nn.Module) else ""
            embedder = Embedder(new_model, known if layer is None else layer)
        upgraded = Gallery(upgrade.carried_over(self.data, h).assign_attrs(_versions()), embedder, self.side, h)
        upgraded.check_model()
        return upgraded

    def _embedders_of_pairs(self, new_model: Any) -> tuple[Embedder, Embedder | None]:
        """What the pairs are embedded with beside the new model; ValueError where some of it is missing."""
        if self.embedder is None or new_model is None:
            which = "new" if self.embedder is not None else "old"
            raise ValueError(
                f"the {which} model is needed to embed the pairs: give it (the old one by Gallery.read(path, model=...)), or give "
                "what it made of them, pairs={'old': ..., 'new': ...}"
            )
        if SIDE in self.data and self.side is None:
            raise ValueError(
                "the gallery's cases have side information, and what gave it is needed for the pairs: Gallery.read(path, model=..., "
                "side=...)"
            )
        self.check_model()
        return self.embedder, self.side if SIDE in self.data else None

    def to_embed(self, n: int | None = None) -> xr.DataArray:
        """Which cases to embed anew first after an update: those whose transformed embedding is the most uncertain.

        Measured, that order raises the mean average precision above a random one where much is uncertain; the share of queries
        whose nearest case is of their class it does not raise.

        Returns
        -------
        DataArray
            (case,): the ``uncertainty`` of the n most uncertain cases, or of all transformed ones, largest first, those that could not
            be transformed (NaN) before all; with the cases' coordinates, and ``position`` in the gallery.

        Raises
        ------
        ValueError
            No case is transformed.
        """
        check_count("n", n, none=True)
        return upgrade.most_uncertain(self.data, n)

    @shown(EmbedSettings, EMBED)
    def embed_anew(self, x: Any = None, at: Any = None, **settings: Unpack[EmbedSettings]) -> Gallery:
        """Replace transformed embeddings of some cases by the model's own.

        Parameters
        ----------
        x
            The cases, as for :meth:`fit`, or their embeddings; None takes the cases that the gallery keeps.
        at
            Which they are, in the order of `x`: what :meth:`to_embed` returned, or positions. None: by the labels of the samples,
            which are those of the gallery's cases; without `x`, all that are transformed.

        Returns
        -------
        Gallery
            The uncertainty of these cases is 0.

        Raises
        ------
        ValueError
            No case is transformed; cases that the gallery does not have, or that it does not keep; no model to embed with.

        Examples
        --------
        >>> import numpy as np, tsattr as ta
        >>> x = np.random.default_rng(0).normal(size=(40, 3))
        >>> gallery = ta.cases.Gallery.fit(lambda x: 2 * x, x[:3]).upgrade(lambda x: x**3, x)
        >>> gallery
        Gallery(3 cases, 3 of them transformed, 3 numbers each, cosine, by <lambda>)
        >>> gallery.embed_anew(at=gallery.to_embed(2))
        Gallery(3 cases, 1 of them transformed, 3 numbers each, cosine, by <lambda>)
        """
        given = filled("embed_anew", settings, EMBED)
        if x is None:
            where = upgrade.positions(self.data, self.to_embed() if at is None else at, None)
            if not stored.is_kept(self.data):
                raise ValueError("the gallery does not keep its cases: give them, embed_anew(x, at=...)")
            x, own = stored.restore(self.data, where, "sample")
            values = self.embed(x, given | own)
        else:
            values = self.embed(x, given)
            labels = values.coords[values.dims[0]].values if values.dims[0] in values.coords else None
            where = upgrade.positions(self.data, at, labels)
        return replace(self, data=upgrade.replaced(self.data, where, values.values))

    def _check_near(self, near: xr.Dataset, inputs: Inputs) -> None:
        """ValueError for neighbours of other queries or of another gallery."""
        if not isinstance(near, xr.Dataset) or "position" not in near or near["position"].dims[1:] != (NEIGHBOUR,):
            raise ValueError("near is what gallery.nearest(q) returns, (sample, neighbour)")
        names = None if inputs.sample_coord is None else comparable(inputs.sample_coord)
        labels = comparable(near[inputs.sample_dim].values) if inputs.sample_dim in near.coords else None
        if near["position"].dims[0] != inputs.sample_dim or len(near["position"]) != inputs.n or names != labels:
            raise ValueError("near is of other queries than q; give gallery.nearest(q)")
        own = self.data[CASE].values if CASE in self.data.coords else np.arange(self.data.sizes[CASE])
        at = near["position"].values
        if at.max() >= len(own) or comparable(own[at[at >= 0]]) != comparable(near["case"].values[at >= 0]):
            raise ValueError("near is of another gallery; give gallery.nearest(q)")

    def _kin(self, a: xr.DataArray, apart: str | None, itself: bool) -> list[neighbours.Kin]:
        """What leaves a case out for a query: the query's own label, and what is asked for."""
        sample, found = str(a.dims[0]), []
        if not itself and CASE in self.data.coords and sample in a.coords:
            found.append(matched(self.data[CASE].values, a[sample].values))
        if apart is None:
            return found
        for where, labelled in (("the queries", a), ("the gallery", self.data)):
            if apart not in labelled.coords or labelled[apart].ndim != 1:
                raise ValueError(f"apart={apart!r} is no coordinate of {where}; they have {list(labelled.coords)}")
        cases, queries = self.data[apart].values, a[apart].values
        check_kinds(apart, cases, queries)
        return [*found, matched(cases, queries)]


def _left_out(apart: str | None, itself: bool) -> str:
    parts = [] if itself else ["the query itself (by its label)"]
    return " and ".join(parts + ([] if apart is None else [f"cases of the same {apart}"])) or "nothing"


def _check_metric(metric: str) -> None:
    if metric not in neighbours.METRICS:
        raise ValueError(f"metric is one of {', '.join(map(repr, neighbours.METRICS))}, got {metric!r}")


def _names(inputs: Inputs) -> set[Any]:
    return {name for v in inputs.variables for name in (*v.array.dims, *v.array.coords)}


def _coords(inputs: Inputs, labels: Any) -> dict[str, Any]:
    """The coordinates of the samples as those of cases."""
    found = {
        CASE if name == inputs.sample_dim else name: (CASE, writable(np.asarray(c.values)), c.attrs)
        for name, c in inputs.sample_coords().items()
    }
    if labels is None:
        return found
    values = np.asarray(labels.values if isinstance(labels, xr.DataArray | pd.Series) else labels)
    if values.shape != (inputs.n,):
        raise ValueError(f"labels has shape {values.shape}; give one for each of the {inputs.n} samples of x")
    return found | {"label": (CASE, writable(values))}


def _versions() -> dict[str, str]:
    versions = {"tsattr": __version__, "torch": torch.__version__, "scikit_learn": sklearn.__version__}
    return {f"version_{name}": str(v) for name, v in versions.items()}
