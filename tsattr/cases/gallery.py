"""A gallery of cases as a model sees them, and the cases nearest to a query."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
import xarray as xr
from torch import nn

from .. import io
from ..core.method import check_is_method
from ..core.results import check_count, check_flag
from ..edge.settings import filled, shown
from ..labels import parsing
from ..methods.integrated_gradients import IntegratedGradients
from . import alike, contents, identity, neighbours, queries, stored, upgrade
from .alike import WHY, WhySettings
from .contents import EMBEDDING, FORMAT, SIDE, SIDE_DIM, UNCERTAINTY
from .embedding import DIM, EMBED, Embedder, EmbedSettings
from .labels import check_names
from .search import check_metric
from .stored import CASE
from .transformation import Transformation


@dataclass(frozen=True, eq=False)
class Gallery:
    """Cases as a model sees them: labelled embeddings, in which those most like a query are found.

    Made by :meth:`fit` or read by :meth:`read`.

    Parameters
    ----------
    data
        ``embedding`` (case, embedding_number), float64, 8 bytes a number; ``side`` (case, side_number) where there is side
        information;
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
        contents.check(self.data)

    def __repr__(self) -> str:
        n, size = self.embedding.shape
        moved = ""
        if UNCERTAINTY in self.data.coords:
            moved = f", {int((self.data[UNCERTAINTY] != 0).sum())} of them transformed"
        return f"Gallery({n} cases{moved}, {size} numbers each, {self.metric}, by {contents.made_by(self.data)})"

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
        check_metric(metric)
        check_flag("keep", keep)
        inputs = parsing.read(x, given["dims"], given["sample_dim"], given["valid"])
        check_names(contents.names(inputs))
        coords = contents.coords(inputs, labels)
        context = parsing.read_context(given["context"], inputs)
        kept = stored.keep(inputs, context) if keep else {}
        embedder = Embedder.of(model, inputs, layer, given)
        found = embedder(inputs, given)
        data = {EMBEDDING: ((CASE, DIM), found.values)} | kept
        attrs = found.attrs
        beside = None if side is None else Embedder(side)
        if beside is not None:
            information = beside(inputs, given)
            data[SIDE] = ((CASE, SIDE_DIM), information.values)
            attrs = attrs | {"side_model": beside.name, "side_fingerprint": beside.fingerprint}
        attrs = {"format": FORMAT, "metric": metric, "sample_dim": inputs.sample_dim, **attrs, **contents.versions()}
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
            The file is missing, damaged, or no gallery; `model` or `side` is another one than the gallery's.

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
        beside = None if side is None else Embedder(side)
        gallery = cls(data, embedder, beside, transformation)
        gallery.check_model()
        if embedder is not None:
            identity.check_witness(data, embedder)
        if beside is not None:
            identity.check_side_weights(data, beside.fingerprint)
            identity.check_side_witness(data, beside)
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
        return contents.embeddings(self.data)

    @property
    def metric(self) -> str:
        """ "cosine" or "euclidean"."""
        return contents.metric(self.data)

    def check_model(self, fingerprint: str | None = None) -> None:
        """ValueError where embeddings of another model than the gallery's would be compared with its own.

        `fingerprint` is that of a query's model, by default the embedder's as its weights are now. Models without weights
        have none; `read` tells them by the first case, where the cases are kept.
        """
        if fingerprint is None:
            fingerprint = "" if self.embedder is None else self.embedder.fingerprint
        identity.check_weights(self.data, fingerprint)

    def embed(self, q: Any, settings: Mapping[str, Any] | None = None) -> xr.DataArray:
        """The embeddings (sample, embedding_number) of queries: by the gallery's model, or `q` itself where it has that dim."""
        if queries.are_embedded(q):
            return queries.checked(q, self.data)
        if self.embedder is None:
            raise ValueError(
                "the gallery has no model to embed queries with: Gallery.read(path, model=...), or give embeddings, a "
                "DataArray (sample, embedding_number) as tsattr.cases.embed gives it"
            )
        self.check_model()
        given = EMBED | dict(settings or {})
        return queries.checked(self.embedder(queries.read(q, self.data, given), given), self.data)

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
            Queries as for `tsattr.explain`, or their embeddings: a DataArray with the dim ``embedding_number``. Their sample
            dim is by default that of the cases.
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
        return neighbours.table(self.data, self.embed(q, given), k, apart, itself)

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
            same of the case as ``attribution_of_case``, ``prediction_of_case``, ..., where the gallery keeps its cases, in the
            query's order of dims (``time_of_case`` where the labels of time are others); and all of `near`. The two predictions
            differ where the case's embedding is transformed: that of the case is by the model's own. Where there is no
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
        if self.embedder is None or queries.are_embedded(q):
            raise ValueError(
                "why two cases are alike is asked of the model about the queries themselves: Gallery.read(path, model=...), and "
                "give the queries as the model takes them"
            )
        inputs = queries.read(q, self.data, given)
        check_names(contents.names(inputs))
        asked = {name: given[name] for name in EMBED}
        own = self.embed(inputs, asked)
        near = self.nearest(own, min(5, self.data.sizes[CASE])) if near is None else near
        neighbours.check(near, inputs, self.data)
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
            As for :meth:`fit`. None where the model is not at hand and `pairs` are embeddings; a layer has to be named where these
            do not say it, plain arrays.
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
        h, embedder = upgrade.found(self.data, self.embedder, self.side, new_model, pairs, layer, blocks, seed, given)
        upgraded = Gallery(
            upgrade.carried_over(self.data, h, embedder).assign_attrs(contents.versions()), embedder, self.side, h
        )
        upgraded.check_model()
        return upgraded

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
            if not len(where):
                return self
            x, own = stored.restore(self.data, where, "sample")
            values = self.embed(x, given | own)
        else:
            values = self.embed(x, given)
            labels = values.coords[values.dims[0]].values if values.dims[0] in values.coords else None
            where = upgrade.positions(self.data, at, labels)
        return replace(self, data=upgrade.replaced(self.data, where, values.values))
